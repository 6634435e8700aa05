//! Is this a safetensors file? Decided by its header, before a byte is stored.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _, stream};
use serde::Deserialize;

use crate::edge::Error;

/// The longest header that is read: some thousand tensors.
const MAX_HEADER_BYTES: u64 = 4 << 20;
/// Before the header stands its length.
const PREFIX_BYTES: u64 = 8;

/// Reads the header off the body and gives back the whole body, or says what is wrong.
pub(super) async fn checked<S, E>(
    mut body: S,
    size: u64,
) -> Result<impl Stream<Item = Result<Bytes, E>> + Send, Error>
where
    S: Stream<Item = Result<Bytes, E>> + Send + Unpin,
    E: Send,
{
    let mut head = BytesMut::new();
    let mut wanted = PREFIX_BYTES;
    let mut is_prefix_known = false;
    while (head.len() as u64) < wanted {
        match body.next().await {
            Some(Ok(piece)) => head.extend_from_slice(&piece),
            Some(Err(_)) => return Err(Error::TooSlow),
            None => return Err(refused("the file ends before its header does")),
        }
        if !is_prefix_known && head.len() as u64 >= PREFIX_BYTES {
            is_prefix_known = true;
            wanted += header_length(&head, size)?;
        }
    }
    let header = &head[PREFIX_BYTES as usize..wanted as usize];
    check_header(header, size - wanted)?;
    Ok(stream::iter([Ok(head.freeze())]).chain(body))
}

fn header_length(head: &[u8], size: u64) -> Result<u64, Error> {
    let mut prefix = [0; PREFIX_BYTES as usize];
    prefix.copy_from_slice(&head[..PREFIX_BYTES as usize]);
    let length = u64::from_le_bytes(prefix);
    if length > MAX_HEADER_BYTES || length.saturating_add(PREFIX_BYTES) > size {
        return Err(refused(format!(
            "its header would have {length} bytes of {size}, the limit is {MAX_HEADER_BYTES}"
        )));
    }
    Ok(length)
}

#[derive(Deserialize)]
struct Tensor {
    dtype: String,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

fn check_header(header: &[u8], data_bytes: u64) -> Result<(), Error> {
    let fields: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)
        .map_err(|error| refused(format!("its header is no JSON: {error}")))?;
    let tensors = fields
        .into_iter()
        .filter(|(name, _)| name != "__metadata__");
    let mut n_tensors = 0;
    for (name, value) in tensors {
        let name = cellmill_core::ids::shown(&name);
        let tensor: Tensor = serde_json::from_value(value)
            .map_err(|error| refused(format!("tensor `{name}` is malformed: {error}")))?;
        let (begin, end) = tensor.data_offsets;
        if begin > end || end > data_bytes {
            return Err(refused(format!("tensor `{name}` lies outside of the file")));
        }
        let values = tensor
            .shape
            .iter()
            .try_fold(1_u64, |n, it| n.checked_mul(*it));
        let is_whole = values
            .zip(bytes_of(&tensor.dtype))
            .and_then(|(n, width)| n.checked_mul(width))
            .is_none_or(|bytes| bytes == end - begin);
        if values.is_none() || !is_whole {
            return Err(refused(format!(
                "tensor `{name}` has other bytes than its shape asks for"
            )));
        }
        n_tensors += 1;
    }
    if n_tensors == 0 {
        return Err(refused("it holds no tensors"));
    }
    Ok(())
}

/// Bytes of one value; of types that we don't know we don't judge the length.
fn bytes_of(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "BOOL" | "U8" | "I8" => 1,
        "U16" | "I16" | "F16" | "BF16" => 2,
        "U32" | "I32" | "F32" => 4,
        "U64" | "I64" | "F64" => 8,
        _ => return None,
    })
}

fn refused(why: impl Into<String>) -> Error {
    Error::Refused {
        code: "bad_model_file",
        message: format!("this is no safetensors file: {}", why.into()),
        hint: Some("send the file as `cellmill train` or `safetensors.torch.save_file` wrote it"),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn file(header: &str, n_data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + n_data, 7);
        bytes
    }

    async fn judged(bytes: &[u8], piece: usize) -> Result<Vec<u8>, Error> {
        let pieces: Vec<Result<Bytes, Infallible>> = bytes
            .chunks(piece)
            .map(|it| Ok(Bytes::copy_from_slice(it)))
            .collect();
        let whole = checked(stream::iter(pieces), bytes.len() as u64).await?;
        let whole: Vec<Bytes> = whole.map(Result::unwrap_or_default).collect().await;
        Ok(whole.concat())
    }

    #[tokio::test]
    async fn a_good_file_passes_unchanged_in_any_pieces() {
        let header =
            r#"{"__metadata__":{"a":"b"},"w":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]}}"#;
        let bytes = file(header, 8);
        for piece in [1, 7, 1000] {
            assert_eq!(judged(&bytes, piece).await.unwrap(), bytes);
        }
    }

    #[tokio::test]
    async fn what_is_no_safetensors_file_is_refused() {
        let tensor = |shape: &str, end: u64| {
            format!(r#"{{"w":{{"dtype":"F32","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
        };
        for bytes in [
            b"\x89PNG\r\n\x1a\n".to_vec(),
            b"short".to_vec(),
            file("{}", 0),
            file("not json", 4),
            file(&tensor("[2]", 8), 4),
            file(&tensor("[3]", 8), 8),
            file(&tensor("[4294967296,4294967296]", 8), 8),
            file(r#"{"w":{"dtype":"F32"}}"#, 8),
            u64::MAX.to_le_bytes().to_vec(),
        ] {
            let refused = judged(&bytes, 5).await;
            assert!(
                matches!(
                    refused,
                    Err(Error::Refused {
                        code: "bad_model_file",
                        ..
                    })
                ),
                "{refused:?}"
            );
        }
    }
}
