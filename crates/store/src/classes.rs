//! The classes that a lab knows.

use cellmill_core::classes::{ClassTable, KnownClasses};
use cellmill_core::keys::Prefix;
use cellmill_core::records::Named;
use futures::TryStreamExt as _;

use crate::{Error, Store};

impl Store {
    /// The built-in classes and those of all class tables, as they are now.
    pub async fn known_classes(&self) -> Result<KnownClasses, Error> {
        let listed: Vec<_> = self
            .list(&Prefix::ClassTables.to_path())
            .try_collect()
            .await?;
        let mut tables = Vec::new();
        for it in listed {
            let table = self.read::<Named<ClassTable>>(&it.key).await?;
            tables.extend(table.map(|it| it.value.value));
        }
        Ok(KnownClasses::new(&tables))
    }
}
