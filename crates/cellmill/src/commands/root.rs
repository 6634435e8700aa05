//! A root folder, for the commands that read one themselves.

use std::path::Path;

use cellmill_store::Store;

use crate::cli::Error;

/// Opens a root folder that must be there already.
pub(crate) async fn open(root: &Path) -> Result<Store, Error> {
    if !root.is_dir() {
        return Err(Error::Usage {
            what: format!("there is no root folder `{}`", root.display()),
            hint: Some("`cellmill up --root DIR` makes one".to_owned()),
        });
    }
    let opened = Store::open_folder(root).await;
    opened.map_err(Error::inner(format!(
        "open the root folder `{}`",
        root.display()
    )))
}
