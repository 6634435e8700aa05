//! Earlier versions in a bucket that keeps them.

use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
use cellmill_store::presign::S3Versions;
use cellmill_store::versions::PurgeVersions as _;
use cellmill_store::{Put, Store, s3};

use crate::uploads::admin;

/// Keys with the number of versions and markers that the bucket keeps of each.
async fn kept(bucket: &str) -> Vec<(String, usize)> {
    let listed = admin().await.list_object_versions().bucket(bucket).send();
    let listed = listed.await.unwrap();
    let versions = listed.versions().iter().filter_map(|it| it.key());
    let markers = listed.delete_markers().iter().filter_map(|it| it.key());
    let mut counts = std::collections::BTreeMap::<String, usize>::new();
    for key in versions.chain(markers) {
        *counts.entry(key.to_owned()).or_default() += 1;
    }
    counts.into_iter().collect()
}

#[tokio::test]
async fn what_was_deleted_is_gone_for_good_and_what_is_there_stays() {
    crate::check_endpoint();
    let bucket = crate::fresh_name("versions");
    s3::create_bucket(&bucket).await.unwrap();
    let on = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    let put = admin().await.put_bucket_versioning().bucket(&bucket);
    put.versioning_configuration(on.build())
        .send()
        .await
        .unwrap();
    let store = Store::open(&format!("s3://{bucket}")).await.unwrap();
    for key in ["img/b/c/deleted", "img/b/c/replaced", "img/b/cc/other"] {
        for bytes in ["one", "two"] {
            store.put_bytes(key, bytes, Put::Overwrite).await.unwrap();
        }
    }
    store.delete("img/b/c/deleted").await.unwrap();
    let of = |key: &str, n: usize| (key.to_owned(), n);
    let before = kept(&bucket).await;
    assert_eq!(
        before,
        [
            of("img/b/c/deleted", 3),
            of("img/b/c/replaced", 2),
            of("img/b/cc/other", 2)
        ]
    );
    let versions = S3Versions::open(&bucket).await.unwrap();
    let n_removed = versions.purge("img/b/c/", &|_| true).await.unwrap();
    assert_eq!(n_removed, 4);
    assert_eq!(
        kept(&bucket).await,
        [of("img/b/c/replaced", 1), of("img/b/cc/other", 2)]
    );
    let read = store.get_bytes("img/b/c/replaced").await.unwrap();
    assert_eq!(read, "two");
    let none = versions.purge("img/b/", &|_| false).await.unwrap();
    assert_eq!(none, 0, "only what is meant");
}
