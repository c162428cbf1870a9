//! The file in a run's folder that says what its network was trained on.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stagger_data::{Framing, Normalization, Split, TrainedOn, foreign};
use stagger_report::checksum;

use crate::error::Error;

/// Above the 65,536 classes that labels can tell apart, with names of 255 bytes.
const MOST_BYTES: u64 = 1 << 26;

/// Its content as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    dataset: String,
    /// By output.
    class_names: Vec<String>,
    /// Channels, height and width.
    shape: [usize; 3],
    /// Where it is not the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    framing: Option<String>,
    /// Of pixels scaled to 0…1, by channel.
    mean: Vec<f32>,
    std: Vec<f32>,
    training_images: usize,
    /// Of the lines before it.
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "it is checked in the text")]
    crc32: Option<String>,
}

/// The bytes of the file.
pub(crate) fn write(split: &Split) -> Vec<u8> {
    let TrainedOn {
        dataset,
        class_names,
        shape,
        framing,
        normalization: Normalization { mean, std },
        images: training_images,
    } = split.trained_on();
    let content = Content {
        dataset,
        class_names,
        shape,
        framing: (framing != Framing::default()).then(|| framing.name().to_owned()),
        mean,
        std,
        training_images,
        crc32: None,
    };
    // Text, numbers and lists have a form in JSON.
    let object = serde_json::to_vec_pretty(&content).map(checksum::seal_json);
    object.unwrap_or_default()
}

/// What the file says; nothing where a run has none, as those of older versions.
///
/// # Errors
/// [`Error::DataFile`] where it cannot be read or says what cannot be.
pub(crate) fn read(path: &Path) -> Result<Option<TrainedOn>, Error> {
    let wrong = |what: String| Error::DataFile {
        path: path.to_owned(),
        what,
    };
    let text = match foreign::text_inside(path, MOST_BYTES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| wrong(error.to_string()))?,
    };
    checksum::check_json(text.as_bytes()).map_err(wrong)?;
    let Content {
        dataset,
        class_names,
        shape,
        framing,
        mean,
        std,
        training_images,
        ..
    } = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let framing = framing.map_or(Ok(Framing::default()), |name| {
        let unknown = || format!("it says framing {name:?}, which this version does not know");
        Framing::of(&name).ok_or_else(|| wrong(unknown()))
    })?;
    let trained_on = TrainedOn {
        dataset,
        class_names,
        shape,
        framing,
        normalization: Normalization { mean, std },
        images: training_images,
    };
    trained_on.validate().map_err(wrong)?;
    Ok(Some(trained_on))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stagger_data::InMemory;

    #[test]
    fn what_is_written_is_read_and_damage_is_told() {
        let set = || InMemory::new("tones", ["dark", "light"], [1, 2, 2], vec![1], vec![9; 4]);
        let split = Split::new(set().unwrap(), set().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.json");
        assert_eq!(read(&path).unwrap(), None);
        let text = String::from_utf8(write(&split)).unwrap();
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path).unwrap(), Some(split.trained_on()));
        let digit = text.replace("\"training_images\": 1", "\"training_images\": 2");
        std::fs::write(&path, digit).unwrap();
        let message = read(&path).unwrap_err().to_string();
        assert!(message.contains("its checksum is"), "{message}");
        // As older runs have written it.
        let (text, _) = text.split_once(",\n  \"crc32\"").unwrap();
        let text = format!("{text}\n}}\n");
        std::fs::write(&path, &text).unwrap();
        assert_eq!(read(&path).unwrap(), Some(split.trained_on()));
        for (from, to, what) in [
            ("\"shape\"", "\"size\"", "unknown field `size`"),
            ("\"dark\",", "", "it names 1 classes"),
            (
                "\"mean\"",
                "\"framing\": \"round\", \"mean\"",
                "it says framing \"round\", which this version does not know",
            ),
            (
                "1,\n    2,",
                "1,\n    0,",
                "it has images of shape [1, 0, 2]",
            ),
        ] {
            let changed = text.replace(from, to);
            assert_ne!(changed, text);
            std::fs::write(&path, changed).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains(what), "{message}");
        }
    }
}
