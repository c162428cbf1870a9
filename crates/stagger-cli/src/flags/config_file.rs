//! Values from a TOML file.

use std::path::Path;

use anyhow::{Context, Result, anyhow};

use super::low::TrainValues;

/// Far above any real config; a wrong path to a large file is refused instead of read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Reads a config file. Its keys are the names of the flags of `stagger train`.
///
/// # Errors
/// When the file cannot be read, is not TOML, or has an unknown key or a value of the wrong kind;
/// the message names file and line.
pub fn read(path: &Path) -> Result<TrainValues> {
    let context = || format!("cannot read the config file {}", path.display());
    let size_bytes = std::fs::metadata(path).with_context(context)?.len();
    if size_bytes > MAX_CONFIG_BYTES {
        return Err(anyhow!(
            "the config file {} has {size_bytes} bytes, more than the {MAX_CONFIG_BYTES} that \
             any config needs; is it the right file?",
            path.display()
        ));
    }
    let text = std::fs::read_to_string(path).with_context(context)?;
    parse(&text).map_err(|sentence| anyhow!("{}: {sentence}", path.display()))
}

/// Parses the text of a config file.
///
/// # Errors
/// One sentence that names the line.
pub fn parse(text: &str) -> Result<TrainValues, String> {
    toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!(
            "line {line}: {}",
            error.message().trim().replace('\n', ", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_flag_names_and_merge_under_flags() {
        let file = parse("model = \"resnet20\"\nbatch-size = 128\nwd = 1e-4\n").unwrap();
        assert_eq!(file.batch_size, Some(128));
        assert_eq!(file.weight_decay, Some(1e-4));
        let flags = TrainValues {
            batch_size: Some(32),
            ..TrainValues::default()
        };
        let merged = flags.or(file);
        assert_eq!(merged.batch_size, Some(32));
        assert_eq!(merged.model.as_deref(), Some("resnet20"));
    }

    #[test]
    fn errors_name_the_line() {
        let unknown = parse("model = \"resnet20\"\nbatchsize = 128\n").unwrap_err();
        assert!(
            unknown.starts_with("line 2: unknown field `batchsize`"),
            "{unknown}"
        );
        let kind = parse("\n\nepochs = \"many\"\n").unwrap_err();
        assert!(kind.starts_with("line 3: invalid type"), "{kind}");
        let syntax = parse("epochs = = 3").unwrap_err();
        assert!(syntax.starts_with("line 1: "), "{syntax}");
    }
}
