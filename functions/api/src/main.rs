//! The Lambda `api`: the router of `crates/api` behind an HTTP API of API Gateway.
//!
//! Bytes of images go to and from the bucket directly, by signed addresses; the function answers with JSON only.

mod caller;

use std::process::ExitCode;
use std::sync::Arc;

use cellmill_api::{ApiParts, Settings, router};
use cellmill_lambda::{Error, Home, run};
use cellmill_store::presign::S3Uploads;
use http::header::HOST;
use lambda_http::{Request, service_fn};

use caller::{BucketTells, IamCaller, note_caller};

fn main() -> ExitCode {
    run(async |home| {
        let router = router(parts(&home).await?);
        lambda_http::run(service_fn(move |request: Request| {
            let mut router = router.clone();
            async move {
                let mut request = note_caller(request);
                // API Gateway answers for its own names only, and checks who asks: nobody can have another name
                // lead here.
                request.headers_mut().remove(HOST);
                lambda_http::tower::Service::call(&mut router, request).await
            }
        }))
        .await
    })
}

async fn parts(home: &Home) -> Result<ApiParts, Error> {
    let url = home.settings.store.as_deref().unwrap_or_default();
    let bucket = url.strip_prefix("s3://").ok_or_else(|| {
        format!("CELLMILL_STORE is `{url}`, and this function needs a bucket, `s3://bucket`")
    })?;
    let bucket = bucket.trim_end_matches('/');
    let uploads = Arc::new(S3Uploads::open(bucket).await?);
    let settings = &home.settings;
    Ok(ApiParts {
        store: home.store.clone(),
        queue: Arc::clone(&home.queue),
        downloads: Some(Arc::new(uploads.downloads())),
        signer: Arc::clone(&uploads) as _,
        multipart: uploads,
        receiver: None,
        notify: Arc::new(BucketTells),
        identity: Arc::new(IamCaller),
        settings: Settings {
            max_image_bytes: settings.images.max_bytes,
            max_points_bytes: settings.csv.max_bytes,
            upload_ttl: settings.upload_ttl,
            window: settings.window,
            timing: settings.timing,
            time_zone: settings.time_zone,
            // No collector gets through the door, and there are many of us: CloudWatch has the figures.
            metrics: None,
            ..Settings::default()
        },
    })
}
