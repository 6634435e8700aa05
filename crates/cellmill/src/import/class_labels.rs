//! Labelling whole images with the class of their folder.

use std::time::Duration;

use cellmill_api::views::{ChangeBody, OperationBody};
use futures::{Stream, StreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use crate::client::{self, Client};

use super::send::patiently;

/// Others may change the label at the same time; more often than this they don't.
const MAX_TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(200);

/// Labels images, several at a time; each answer names its image.
pub(super) fn label_all(
    client: &Client,
    wanted: Vec<(String, u32)>,
    parallel: usize,
) -> impl Stream<Item = (String, Result<(), client::Error>)> {
    stream::iter(wanted)
        .map(move |(key, class)| async move {
            let labelled = label(client, &key, class).await;
            (key, labelled)
        })
        .buffer_unordered(parallel)
}

/// Sets the class of one image. What was set before by the same folder changes nothing, so that a person's later
/// word stands.
async fn label(client: &Client, key: &str, class: u32) -> Result<(), client::Error> {
    // A label that nobody touched is at its first revision.
    let mut rev = 1;
    let mut n_tries = 0;
    loop {
        let operation = OperationBody {
            id: operation_id(key, class),
            rev,
            change: ChangeBody::SetImageClass { class: Some(class) },
        };
        let answer = patiently(|| client.edit_label(key, vec![operation.clone()])).await;
        n_tries += 1;
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if n_tries == MAX_TRIES => return Err(error),
            Err(error) if error.status() == Some(409) => {
                rev = patiently(|| client.label(key)).await?.rev;
            }
            // The image is known a moment before its label is.
            Err(error) if error.status() == Some(404) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

/// A ULID made of what is said: saying it again is the same operation. Its time is 0, so that among operations on
/// one revision a person's comes later.
fn operation_id(key: &str, class: u32) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let hash = Sha256::digest(format!("class of the folder\n{key}\n{class}"));
    let random = hash[..10]
        .iter()
        .fold(0_u128, |all, it| all << 8 | u128::from(*it));
    let digit = |at: u32| DIGITS[(random >> (5 * (15 - at)) & 31) as usize] as char;
    std::iter::repeat_n('0', 10)
        .chain((0..16).map(digit))
        .collect()
}

#[cfg(test)]
mod tests {
    use cellmill_core::ids::UlidText;

    use super::*;

    #[test]
    fn the_same_word_is_the_same_operation_and_another_is_another() {
        let id = operation_id("img/b/c/Images/a.png", 2);
        assert!(UlidText::parse(&id).is_ok());
        assert_eq!(id, operation_id("img/b/c/Images/a.png", 2));
        assert_ne!(id, operation_id("img/b/c/Images/a.png", 3));
        assert_ne!(id, operation_id("img/b/c/Images/b.png", 2));
        assert!(id.as_str() < "01");
    }
}
