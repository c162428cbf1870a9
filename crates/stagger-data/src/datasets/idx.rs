//! The IDX layout of MNIST and its relatives, plain or compressed with gzip.
//!
//! A file starts with a magic number (two zero bytes; 0x08 for bytes, 0x0c for 32-bit numbers; the number of
//! dimensions), then the dimensions as 32-bit big-endian numbers, then the data. Images have three dimensions
//! (count, height, width), labels one; or two (count, columns) of 32-bit numbers, as QMNIST has them, of which the first
//! column is the class.

use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::DataError;
use crate::file;
use crate::file_error::FileError;
use crate::foreign::ForeignFile;
use crate::shown;

const LABEL_MAGIC: u32 = 0x0000_0801;
const IMAGE_MAGIC: u32 = 0x0000_0803;
/// Of rows of 32-bit numbers.
const ROW_MAGIC: u32 = 0x0000_0c02;
/// The largest label.
const MOST_LABEL: usize = u16::MAX as usize;
/// No more than this is read of a file, whatever its header declares: 2 GiB.
const LIMIT_BYTES: u64 = 1 << 31;
/// Deflate cannot compress better than 1 : 1032.
const DEFLATE_LIMIT: u64 = 1032;
/// Bytes fetched at one time: memory grows with what is there, not with what was promised.
const STEP_BYTES: usize = 1 << 20;

/// The content of a file of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Number of images.
    pub count: usize,
    /// Height and width of every image in pixels.
    pub size: [usize; 2],
    /// Images one after another, row by row.
    pub pixels: Vec<u8>,
}

/// Reads a file of images from `reader`, which holds `size_bytes` bytes before decompression;
/// `path` is for messages.
///
/// # Errors
/// [`FileError::BadMagic`], [`FileError::TruncatedHeader`], [`FileError::TooLarge`] if the header
/// declares more than the file can hold, [`FileError::Truncated`], [`FileError::TrailingBytes`],
/// [`FileError::CorruptGzip`], [`DataError::Empty`], [`FileError::Io`].
pub fn read_images(reader: impl Read, size_bytes: u64, path: &Path) -> Result<Images, DataError> {
    let mut file = Idx::new(reader, size_bytes, path)?;
    let magic = file.header_word(0, 16)?;
    let [count, height, width] = file.dimensions(magic, IMAGE_MAGIC)?;
    if height == 0 || width == 0 {
        return Err(DataError::Empty {
            what: shown::path(path),
        });
    }
    let pixels = file.data(count, u64::from(height) * u64::from(width), 16)?;
    Ok(Images {
        count: count as usize,
        size: [height as usize, width as usize],
        pixels,
    })
}

/// Reads a file of labels, one byte each, or of rows of 32-bit numbers that begin with the label; otherwise as [`read_images`].
///
/// # Errors
/// As [`read_images`], and [`FileError::LabelOutOfRange`] for a number below 0 or above 65,535.
pub fn read_labels(reader: impl Read, size_bytes: u64, path: &Path) -> Result<Vec<u16>, DataError> {
    let mut file = Idx::new(reader, size_bytes, path)?;
    let magic = file.header_word(0, 8)?;
    if magic != ROW_MAGIC {
        let [count] = file.dimensions(magic, LABEL_MAGIC)?;
        let labels = file.data(count, 1, 8)?;
        return Ok(labels.into_iter().map(u16::from).collect());
    }
    let [count, columns] = file.dimensions(magic, ROW_MAGIC)?;
    if columns == 0 {
        return Err(DataError::Empty {
            what: shown::path(path),
        });
    }
    let row_bytes = 4 * u64::from(columns);
    let rows = file.data(count, row_bytes, 12)?;
    // Whole rows, as many as the header says.
    let rows = rows.chunks_exact(row_bytes as usize);
    let label = |(record, row): (usize, &[u8])| {
        let label = u32::from_be_bytes([row[0], row[1], row[2], row[3]]);
        u16::try_from(label).map_err(|_| FileError::LabelOutOfRange {
            path: path.to_path_buf(),
            record,
            label: label as usize,
            classes: MOST_LABEL + 1,
        })
    };
    Ok(rows.enumerate().map(label).collect::<Result<_, _>>()?)
}

/// Opens a file for [`read_images`] or [`read_labels`].
pub(crate) fn open(path: &Path) -> Result<(BufReader<ForeignFile>, u64), DataError> {
    let (file, size_bytes) = file::open(path)?;
    Ok((BufReader::with_capacity(1 << 16, file), size_bytes))
}

type Whole<R> = Chain<Cursor<Vec<u8>>, R>;

enum Source<R: Read> {
    Plain(Whole<R>),
    Gzip(Box<MultiGzDecoder<BufReader<Whole<R>>>>),
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Plain(reader) => reader.read(buffer),
            Source::Gzip(reader) => reader.read(buffer),
        }
    }
}

struct Idx<'a, R: Read> {
    source: Source<R>,
    /// The most bytes that the content can have.
    capacity_bytes: u64,
    path: &'a Path,
}

impl<'a, R: Read> Idx<'a, R> {
    /// Looks at the first two bytes: gzip's are 1f 8b, IDX's are 00 00. The name does not count.
    fn new(mut reader: R, size_bytes: u64, path: &'a Path) -> Result<Self, FileError> {
        let mut start = vec![0; 2];
        let found = file::read_up_to(&mut reader, &mut start).map_err(FileError::io(path))?;
        start.truncate(found);
        let compressed = start == [0x1f, 0x8b];
        let whole = Cursor::new(start).chain(reader);
        let (source, capacity_bytes) = if compressed {
            let decoder = MultiGzDecoder::new(BufReader::new(whole));
            (
                Source::Gzip(Box::new(decoder)),
                size_bytes.saturating_mul(DEFLATE_LIMIT),
            )
        } else {
            (Source::Plain(whole), size_bytes)
        };
        Ok(Self {
            source,
            capacity_bytes: capacity_bytes.min(LIMIT_BYTES),
            path,
        })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, FileError> {
        file::read_up_to(&mut self.source, buffer).map_err(|source| {
            let path = self.path.to_path_buf();
            match self.source {
                Source::Gzip(_) => FileError::CorruptGzip { path, source },
                Source::Plain(_) => FileError::Io { path, source },
            }
        })
    }

    /// The next number of a header of `header_bytes`, of which `read` bytes have been read.
    fn header_word(&mut self, read: usize, header_bytes: usize) -> Result<u32, FileError> {
        let mut bytes = [0; 4];
        let found = self.fill(&mut bytes)?;
        if found < 4 {
            return Err(FileError::TruncatedHeader {
                path: self.path.to_path_buf(),
                expected_bytes: header_bytes,
                found_bytes: read + found,
            });
        }
        Ok(u32::from_be_bytes(bytes))
    }

    /// The dimensions, after the first number of the header, which has to be the magic number: what follows a wrong one has
    /// no meaning.
    fn dimensions<const D: usize>(
        &mut self,
        found: u32,
        expected: u32,
    ) -> Result<[u32; D], FileError> {
        if found != expected {
            let path = self.path.to_path_buf();
            return Err(FileError::BadMagic {
                path,
                expected,
                found,
            });
        }
        let mut dimensions = [0; D];
        for (i, dimension) in dimensions.iter_mut().enumerate() {
            *dimension = self.header_word(4 * (i + 1), 4 * (D + 1))?;
        }
        Ok(dimensions)
    }

    /// Reads `count` records of `record_bytes` each, after which the file must end.
    fn data(
        &mut self,
        count: u32,
        record_bytes: u64,
        header_bytes: u64,
    ) -> Result<Vec<u8>, DataError> {
        let path = || self.path.to_path_buf();
        if count == 0 {
            return Err(DataError::Empty {
                what: shown::path(self.path),
            });
        }
        let declared = u64::from(count).saturating_mul(record_bytes);
        // A plain file that is a little short is reported as truncated, with the record.
        let bound = match self.source {
            Source::Plain(_) => LIMIT_BYTES,
            Source::Gzip(_) => self.capacity_bytes,
        };
        if declared > bound {
            return Err(FileError::TooLarge {
                path: path(),
                what: "bytes of data",
                found: declared,
                limit: bound,
                why: "a file of this size can hold",
            }
            .into());
        }
        let mut data = Vec::new();
        while (data.len() as u64) < declared {
            let start = data.len();
            data.resize(
                start + (declared - start as u64).min(STEP_BYTES as u64) as usize,
                0,
            );
            let found = self.fill(&mut data[start..])?;
            if start + found < data.len() {
                let total = (start + found) as u64;
                return Err(FileError::Truncated {
                    path: path(),
                    record: (total / record_bytes) as usize,
                    expected_bytes: record_bytes,
                    found_bytes: total % record_bytes,
                }
                .into());
            }
        }
        if self.fill(&mut [0])? > 0 {
            let (records, expected_bytes) = (count as usize, header_bytes + declared);
            return Err(FileError::TrailingBytes {
                path: path(),
                records,
                expected_bytes,
            }
            .into());
        }
        data.shrink_to_fit();
        Ok(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    fn idx(magic: u32, dimensions: &[u32], data: &[u8]) -> Vec<u8> {
        let mut bytes = magic.to_be_bytes().to_vec();
        for dimension in dimensions {
            bytes.extend(dimension.to_be_bytes());
        }
        bytes.extend(data);
        bytes
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn images(bytes: &[u8]) -> Result<Images, DataError> {
        read_images(bytes, bytes.len() as u64, Path::new("x"))
    }

    fn labels(bytes: &[u8]) -> Result<Vec<u16>, DataError> {
        read_labels(bytes, bytes.len() as u64, Path::new("x"))
    }

    #[test]
    fn plain_and_compressed_files_give_the_same() {
        let bytes = idx(IMAGE_MAGIC, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]);
        let expected = Images {
            count: 2,
            size: [1, 3],
            pixels: vec![1, 2, 3, 4, 5, 6],
        };
        assert_eq!(images(&bytes).unwrap(), expected);
        assert_eq!(images(&gzip(&bytes)).unwrap(), expected);
        let bytes = idx(LABEL_MAGIC, &[3], &[9, 0, 4]);
        assert_eq!(labels(&gzip(&bytes)).unwrap(), [9, 0, 4]);
    }

    #[test]
    fn wrong_files_are_told_apart() {
        let message = |bytes: &[u8]| images(bytes).unwrap_err().to_string();
        insta::assert_snapshot!(message(&idx(LABEL_MAGIC, &[1], &[0])), @"x is not an IDX file of the expected kind: it starts with 0x00000801, expected 0x00000803; fetch the file again");
        insta::assert_snapshot!(message(&[0, 0, 8, 3, 0, 0]), @"x is truncated: its header has 16 bytes, but only 6 are there; fetch the file again");
        insta::assert_snapshot!(message(&idx(IMAGE_MAGIC, &[3, 2, 2], &[0; 9])), @"x is truncated: record 2 has 4 bytes, but only 1 are there; fetch the file again");
        insta::assert_snapshot!(message(&idx(IMAGE_MAGIC, &[2, 2, 2], &[0; 9])), @"x continues after its 2 records: expected 24 bytes in all, found more; fetch the file again");
        insta::assert_snapshot!(message(&idx(IMAGE_MAGIC, &[0, 2, 2], &[])), @"x holds no images");
    }

    #[test]
    fn rows_of_numbers_begin_with_the_label() {
        let rows = |numbers: &[u32]| {
            numbers
                .iter()
                .flat_map(|n| n.to_be_bytes())
                .collect::<Vec<u8>>()
        };
        let bytes = idx(ROW_MAGIC, &[2, 3], &rows(&[5, 77, 1, 0, 99, 2]));
        assert_eq!(labels(&bytes).unwrap(), [5, 0]);
        assert_eq!(labels(&gzip(&bytes)).unwrap(), [5, 0]);
        let message = |dimensions: &[u32], data: &[u8]| {
            labels(&idx(ROW_MAGIC, dimensions, data))
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(message(&[2, 1], &rows(&[1, u32::MAX])), @"x: record 1 has label 4294967295, but there are only 65536 classes (0 to 65535)");
        insta::assert_snapshot!(message(&[2, 2], &rows(&[1, 2, 3])), @"x is truncated: record 1 has 8 bytes, but only 4 are there; fetch the file again");
        insta::assert_snapshot!(message(&[2, 0], &[]), @"x holds no images");
        insta::assert_snapshot!(message(&[2], &[]), @"x is truncated: its header has 12 bytes, but only 8 are there; fetch the file again");
        assert!(matches!(
            labels(&idx(ROW_MAGIC, &[u32::MAX, u32::MAX], &[0; 9])),
            Err(DataError::File(FileError::TooLarge { .. }))
        ));
    }

    /// Whatever a compressed file would inflate to: no more than its header counts is asked of it.
    #[test]
    fn what_inflates_to_more_than_its_header_counts_is_refused() {
        let bomb = gzip(&idx(LABEL_MAGIC, &[3], &vec![0; 1 << 24]));
        let mut read = bomb.as_slice();
        let found = read_labels(&mut read, bomb.len() as u64, Path::new("x"));
        assert!(matches!(
            found,
            Err(DataError::File(FileError::TrailingBytes {
                expected_bytes: 11,
                ..
            }))
        ));
    }

    #[test]
    fn headers_cannot_ask_for_memory() {
        let huge = idx(IMAGE_MAGIC, &[u32::MAX; 3], &[0; 9]);
        assert!(matches!(
            images(&huge),
            Err(DataError::File(FileError::TooLarge { .. }))
        ));
        let large = idx(IMAGE_MAGIC, &[1000, 1000, 1000], &[0; 9]);
        assert!(matches!(
            images(&large),
            Err(DataError::File(FileError::Truncated { record: 0, .. }))
        ));
        assert!(matches!(
            images(&gzip(&large)),
            Err(DataError::File(FileError::TooLarge { .. }))
        ));
    }

    #[test]
    fn a_damaged_gzip_file_is_named_so() {
        let data: Vec<u8> = (0..4000u32).map(|i| ((i * i) >> 3) as u8).collect();
        let bytes = gzip(&idx(IMAGE_MAGIC, &[10, 20, 20], &data));
        let cut = &bytes[..bytes.len() / 2];
        assert!(matches!(
            images(cut),
            Err(DataError::File(FileError::CorruptGzip { .. }))
        ));
        let mut flipped = bytes.clone();
        let checksum = flipped.len() - 6;
        flipped[checksum] ^= 1;
        assert!(matches!(
            images(&flipped),
            Err(DataError::File(FileError::CorruptGzip { .. }))
        ));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = images(&bytes);
            let _ = labels(&bytes);
            let gzipped = [&[0x1f, 0x8b, 8, 0], &bytes[..]].concat();
            prop_assert!(images(&gzipped).is_err());
        }

        #[test]
        fn arbitrary_headers_never_panic(
            dimensions: [u32; 3], small in 0u32..5, data in proptest::collection::vec(0u8..9, 0..60),
        ) {
            for dimensions in [dimensions, dimensions.map(|d| d % 5), [small, dimensions[1] % 9, 1]] {
                let bytes = idx(IMAGE_MAGIC, &dimensions, &data);
                for bytes in [bytes.clone(), gzip(&bytes)] {
                    if let Ok(images) = images(&bytes) {
                        prop_assert_eq!(images.pixels, data.clone());
                    }
                }
            }
        }

        #[test]
        fn every_truncation_is_an_error(cut in 0usize..300, compressed: bool) {
            let whole = idx(IMAGE_MAGIC, &[4, 8, 8], &[5; 256]);
            let whole = if compressed { gzip(&whole) } else { whole };
            let cut = cut % whole.len();
            prop_assert!(images(&whole[..cut]).is_err());
        }
    }
}
