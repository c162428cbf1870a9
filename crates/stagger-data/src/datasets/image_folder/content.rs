//! The content of a folder's pictures, which its fingerprint does not look at.

use super::{FILE_LIMIT_BYTES, Item};
use crate::error::DataError;
use crate::file;
use crate::fingerprint::Fingerprint;
use crate::random::{Purpose, Stream};

/// The most pictures that are read.
const MOST_PICTURES: usize = 1024;

/// The most bytes of them.
const MOST_BYTES: u64 = 256 << 20;

/// A hash of the bytes of a sample of pictures: of all where there are few. Which they are depends on their number and sizes only.
pub(super) fn fingerprint(items: &[Item]) -> Result<u64, DataError> {
    let mut hash = Fingerprint::default();
    for index in sample(items) {
        let bytes = file::read(&items[index].image.path, FILE_LIMIT_BYTES)?;
        hash = hash.number(index as u64).bytes(&bytes);
    }
    Ok(hash.finish())
}

/// The beginning of a shuffle by Fisher and Yates, as far as the limits go.
fn sample(items: &[Item]) -> Vec<usize> {
    let mut stream = Stream::new(0, Purpose::Content, items.len() as u64, 0);
    let mut order: Vec<usize> = (0..items.len()).collect();
    let mut bytes = 0;
    for at in 0..items.len().min(MOST_PICTURES) {
        let drawn = at + stream.below((items.len() - at) as u64) as usize;
        order.swap(at, drawn);
        bytes += items[order[at]].image.size_bytes;
        if bytes > MOST_BYTES && at > 0 {
            order.truncate(at);
            return order;
        }
    }
    order.truncate(MOST_PICTURES);
    order
}
