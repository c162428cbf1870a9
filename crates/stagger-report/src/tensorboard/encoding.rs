//! The bytes of an event file: records of TFRecord, each a protocol buffer `Event` (tensorflow/core/util/event.proto and
//! tensorflow/core/framework/summary.proto). What scalars and histograms need of them is two dozen fields; a library for all of them would bring the
//! crates of protocol buffers along.

use super::histogram::Histogram;

/// The content of the first event.
pub(super) const FILE_VERSION: &str = "brain.Event:2";

/// What an event says.
#[derive(Clone, Copy, Debug)]
pub(super) enum Message<'a> {
    /// The format, in the first event.
    FileVersion(&'a str),
    /// A value.
    Scalar(Scalar<'a>),
    /// A distribution under a tag.
    Histogram(&'a str, &'a Histogram),
    /// What has this step or a later one in earlier files is no longer so.
    Restart,
}

/// A value of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scalar<'a> {
    pub tag: &'a str,
    pub value: f32,
}

/// An `Event` at a time in seconds since 1970.
pub(super) fn event(seconds: f64, step: usize, message: Message<'_>) -> Vec<u8> {
    let mut event = Vec::new();
    key(&mut event, 1, Wire::Eight);
    event.extend(seconds.to_le_bytes());
    key(&mut event, 2, Wire::Varint);
    varint(&mut event, step as u64);
    match message {
        Message::FileVersion(version) => bytes(&mut event, 3, version.as_bytes()),
        Message::Scalar(Scalar { tag, value }) => {
            let mut of_tag = tagged(tag);
            key(&mut of_tag, 2, Wire::Four);
            of_tag.extend(value.to_le_bytes());
            summary(&mut event, &of_tag);
        }
        Message::Histogram(tag, histogram) => {
            let mut of_tag = tagged(tag);
            bytes(&mut of_tag, 5, &distribution(histogram));
            summary(&mut event, &of_tag);
        }
        Message::Restart => {
            // A `SessionLog` whose status is START.
            let mut log = Vec::new();
            key(&mut log, 1, Wire::Varint);
            varint(&mut log, 1);
            bytes(&mut event, 7, &log);
        }
    }
    event
}

/// The beginning of a `Summary.Value`.
fn tagged(tag: &str) -> Vec<u8> {
    let mut of_tag = Vec::new();
    bytes(&mut of_tag, 1, tag.as_bytes());
    of_tag
}

/// Adds a `Summary` of one value to an event.
fn summary(event: &mut Vec<u8>, value: &[u8]) {
    let mut summary = Vec::new();
    bytes(&mut summary, 1, value);
    bytes(event, 5, &summary);
}

/// A `HistogramProto`.
fn distribution(of: &Histogram) -> Vec<u8> {
    let mut proto = Vec::new();
    let numbers = [of.min, of.max, of.number(), of.sum, of.sum_of_squares];
    for (field, number) in (1..).zip(numbers) {
        key(&mut proto, field, Wire::Eight);
        proto.extend(number.to_le_bytes());
    }
    for (field, numbers) in [(6, &of.limits), (7, &of.counts)] {
        let packed: Vec<u8> = numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        bytes(&mut proto, field, &packed);
    }
    proto
}

/// A record of TFRecord: length, checksum of the length, data, checksum of the data.
pub(super) fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked(&length).to_le_bytes());
    record.extend(data);
    record.extend(masked(data).to_le_bytes());
    record
}

/// The checksum as TFRecord stores it.
pub(super) fn masked(data: &[u8]) -> u32 {
    checksum(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C, bit by bit: records are short. `crc32fast` has the other polynomial.
fn checksum(data: &[u8]) -> u32 {
    let shifted = |checksum: u32| checksum >> 1 ^ if checksum & 1 == 1 { 0x82f6_3b78 } else { 0 };
    let of_byte = |checksum: u32, byte: &u8| {
        (0..8).fold(checksum ^ u32::from(*byte), |checksum, _| shifted(checksum))
    };
    !data.iter().fold(!0, of_byte)
}

/// How a field is encoded.
enum Wire {
    Varint = 0,
    Eight = 1,
    Bytes = 2,
    Four = 5,
}

fn key(to: &mut Vec<u8>, field: u64, wire: Wire) {
    varint(to, field << 3 | wire as u64);
}

fn bytes(to: &mut Vec<u8>, field: u64, content: &[u8]) {
    key(to, field, Wire::Bytes);
    varint(to, content.len() as u64);
    to.extend(content);
}

fn varint(to: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_masked_castagnoli_ones() {
        // RFC 3720, B.4: 32 zeros; 32 ones; the check value of catalogues.
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
        assert_eq!(
            masked(&[0; 32]).wrapping_sub(0xa282_ead8).rotate_left(15),
            0x8a91_36aa
        );
    }

    #[test]
    fn an_event_is_a_protocol_buffer() {
        let event = event(
            1.5,
            300,
            Message::Scalar(Scalar {
                tag: "ab",
                value: 2.0,
            }),
        );
        let expected = [
            &[0x09][..],
            &1.5_f64.to_le_bytes(),
            &[0x10, 0xac, 0x02],
            &[0x2a, 11, 0x0a, 9, 0x0a, 2, b'a', b'b', 0x15],
            &2.0_f32.to_le_bytes(),
        ]
        .concat();
        assert_eq!(event, expected);
        let histogram = Histogram::of(&[1.0, 3.0]).unwrap();
        let found = distribution(&histogram);
        let doubles = |bytes: &[u8]| -> Vec<f64> {
            let each = bytes.chunks_exact(8);
            each.map(|bytes| f64::from_le_bytes(bytes.try_into().unwrap()))
                .collect()
        };
        let keys: Vec<u8> = found[..45].iter().step_by(9).copied().collect();
        assert_eq!(keys, [0x09, 0x11, 0x19, 0x21, 0x29]);
        let numbers = found[..45].chunks(9).flat_map(|field| doubles(&field[1..]));
        assert_eq!(numbers.collect::<Vec<_>>(), [1.0, 3.0, 2.0, 4.0, 10.0]);
        // 64 doubles each, in 512 bytes.
        assert_eq!(found[45..48], [0x32, 0x80, 0x04]);
        assert_eq!(doubles(&found[48..560]), histogram.limits);
        assert_eq!(found[560..563], [0x3a, 0x80, 0x04]);
        assert_eq!(doubles(&found[563..]), histogram.counts);

        let record = record(&event);
        assert_eq!(record.len(), 8 + 4 + event.len() + 4);
        assert_eq!(record[..8], (event.len() as u64).to_le_bytes());
    }
}
