//! Every object of the root, one after the other.

use cellmill_core::erase::Erasure;
use cellmill_core::keys::{DatasetFile, JobKind, ObjectKey, ProjectFile};
use cellmill_core::records::{AuditEntry, LabelTypeSettings, Named, WorkerRecord};
use cellmill_core::uploads::UploadSession;
use cellmill_store::{Error, Store};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;

use super::finding::{Finding, Findings, Weight};
use super::{dataset, images, jobs, project};

/// What a root holds and what is wrong with it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    pub objects: u64,
    /// Objects at no documented place; they are left alone.
    pub strangers: u64,
    pub problems: u64,
    pub notes: u64,
    /// Problems first, then by key.
    pub findings: Vec<Finding>,
}

/// Objects that are looked at together.
const AT_ONCE: usize = 16;

/// Checks every object of a store.
pub async fn verify(store: &Store) -> Result<Verified, Error> {
    let mut verified = Verified::default();
    let checks = store
        .list("")
        .map_ok(|listed| async move { Ok(check(store, &listed.key).await) });
    let mut checks = checks.try_buffer_unordered(AT_ONCE);
    while let Some(checked) = checks.try_next().await? {
        verified.objects += 1;
        match checked {
            Some(found) => verified.findings.extend(found),
            None => verified.strangers += 1,
        }
    }
    verified.findings.sort();
    let count = |weight| {
        let of_weight = verified.findings.iter().filter(|it| it.weight == weight);
        of_weight.count() as u64
    };
    (verified.problems, verified.notes) = (count(Weight::Problem), count(Weight::Note));
    Ok(verified)
}

/// `None`: not one of ours.
async fn check(store: &Store, path: &str) -> Option<Vec<Finding>> {
    let key = match ObjectKey::parse(path) {
        Ok(key) => key?,
        Err(error) => {
            let source = std::error::Error::source(&error).map(|it| format!(": {it}"));
            return Some(vec![Finding {
                weight: Weight::Problem,
                key: path.to_owned(),
                rule: "key is of the layout",
                detail: format!("{error}{}", source.unwrap_or_default()),
            }]);
        }
    };
    let mut it = Findings::new(store, &key);
    match &key {
        ObjectKey::Image(key) => images::image(&mut it, key).await,
        ObjectKey::Points(key) => images::points(&mut it, key).await,
        ObjectKey::ImageRecord(key) => images::image_record(&mut it, key).await,
        ObjectKey::PointsRecord(key) => images::points_record(&mut it, key).await,
        ObjectKey::StemRecord(key) => images::stem_record(&mut it, key).await,
        ObjectKey::Label(key) => images::label(&mut it, key).await,
        ObjectKey::ClassTable(_) => images::class_table(&mut it).await,
        ObjectKey::LabelType(_) => parses_as_document::<Named<LabelTypeSettings>>(&mut it).await,
        ObjectKey::Dataset(dir, DatasetFile::Job) => jobs::job(&mut it, JobKind::Data, dir).await,
        ObjectKey::Project(dir, ProjectFile::Job(kind)) => jobs::job(&mut it, *kind, dir).await,
        ObjectKey::Dataset(_, file) => dataset::file(&mut it, file).await,
        ObjectKey::Unit(key) => jobs::unit(&mut it, key).await,
        ObjectKey::Active { kind, dir, round } => {
            jobs::active(&mut it, *kind, dir, *round).await;
        }
        ObjectKey::Number(kind, number) => jobs::number(&mut it, *kind, *number).await,
        ObjectKey::ModelCard(key) => project::model(&mut it, key).await,
        ObjectKey::Worker(_) => parses_as_document::<WorkerRecord>(&mut it).await,
        ObjectKey::Erasure(..) => parses_as_document::<Erasure>(&mut it).await,
        ObjectKey::Audit { .. } => parses_as_document::<AuditEntry>(&mut it).await,
        ObjectKey::Upload(_) => parses_as_document::<UploadSession>(&mut it).await,
        ObjectKey::Index(_) => {
            it.json::<Value>(&key).await;
        }
        // Bytes that other documents name, and are checked with them.
        ObjectKey::Project(..)
        | ObjectKey::Cell { .. }
        | ObjectKey::Cache(_)
        | ObjectKey::Model(_)
        | ObjectKey::Weights(_)
        | ObjectKey::UnitOutput { .. }
        | ObjectKey::UploadPart { .. } => {}
    }
    Some(it.found)
}

async fn parses_as_document<D: cellmill_core::document::Document>(it: &mut Findings<'_>) {
    it.document::<D>(it.key).await;
}

#[cfg(test)]
mod tests {
    use cellmill_core::records::{ImageRecord, ImageState};
    use cellmill_store::Put;
    use cellmill_vision::pack::write_pack;

    use super::*;

    fn rules(verified: &Verified, weight: Weight) -> Vec<&str> {
        let of_weight = verified.findings.iter().filter(|it| it.weight == weight);
        of_weight.map(|it| it.rule).collect()
    }

    async fn put(store: &Store, key: &str, bytes: Vec<u8>) {
        let key = ObjectKey::parse(key).unwrap().unwrap();
        store.put_bytes(&key, bytes, Put::Create).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_good_image_needs_is_missed() {
        let store = Store::memory();
        let record = ImageRecord {
            state: ImageState::Ok,
            ..ImageRecord::expected("img/b/c/Images/x.jpg".parse().unwrap())
        };
        let key = ObjectKey::ImageRecord(record.key.clone());
        store.create(&key, record).await.unwrap();
        assert_eq!(
            rules(&verify(&store).await.unwrap(), Weight::Problem),
            [
                "good image has a label",
                "good image has a sha256",
                "good image has a size",
                "recorded image exists"
            ]
        );
    }

    #[tokio::test]
    async fn a_pack_must_have_the_hash_that_its_name_says() {
        let store = Store::memory();
        let pack = write_pack([("a.png".to_owned(), b"cell")]).unwrap();
        let right = cellmill_core::ids::sha256_hex(&pack)[..16].to_owned();
        put(
            &store,
            &format!("datasets/d/packs/00000-{right}.zip"),
            pack.clone(),
        )
        .await;
        assert_eq!(verify(&store).await.unwrap().problems, 0);
        put(&store, "datasets/d/packs/00001-0123456789abcdef.zip", pack).await;
        let verified = verify(&store).await.unwrap();
        assert_eq!(
            rules(&verified, Weight::Problem),
            ["pack is named by its content"]
        );
    }

    #[tokio::test]
    async fn documents_that_do_not_parse_are_named_and_new_files_are_notes() {
        let store = Store::memory();
        put(&store, "records/img/b/c/Images/x.jpg.json", b"{".to_vec()).await;
        put(&store, "img/b/c/Images/y.jpg", b"y".to_vec()).await;
        let verified = verify(&store).await.unwrap();
        assert_eq!(rules(&verified, Weight::Problem), ["readable"]);
        assert_eq!(rules(&verified, Weight::Note), ["image has a record"]);
        assert!(verified.findings[0].detail.contains("malformed"));
    }
}
