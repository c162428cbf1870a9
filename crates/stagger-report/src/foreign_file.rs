//! Files that are no weights files, as sentences.

/// What a file is, where it is no safetensors file but one that is often found in its place.
pub(crate) fn foreign(bytes: &[u8]) -> Option<String> {
    let is_text_of = |beginning: &str| {
        let start = bytes.trim_ascii_start();
        start
            .get(..beginning.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(beginning.as_bytes()))
    };
    let sentence = if bytes.is_empty() {
        "it is empty"
    } else if bytes.starts_with(b"version https://git-lfs") {
        "it is a pointer of Git LFS, not the file that it stands for; fetch that with `git lfs pull`"
    } else if is_text_of("<!doctype") || is_text_of("<html") || is_text_of("<?xml") {
        "it is a web page, not a file of weights; download the file itself"
    } else if bytes.starts_with(b"\x89HDF") {
        "it is an HDF5 file, as Keras writes them; save the weights as safetensors"
    } else if bytes.starts_with(b"\x1f\x8b") {
        "it is compressed (gzip); unpack it first"
    } else if bytes.starts_with(b"\x80") && bytes.get(1).is_some_and(|protocol| *protocol <= 5) {
        return Some(format!(
            "it is a Python pickle, as torch.save wrote them before PyTorch 1.6, and nothing of it is run here; {CONVERT}"
        ));
    } else {
        return None;
    };
    Some(sentence.to_owned())
}

/// The way from a file of PyTorch to one that is read.
pub(crate) const CONVERT: &str = "make a safetensors file of it in Python:\n  \
    import torch; from safetensors.torch import save_file\n  \
    w = torch.load(\"FILE\", map_location=\"cpu\", weights_only=True)  # plain tensors only: runs no code\n  \
    save_file({k: v.clone() for k, v in w.get(\"state_dict\", w).items()}, \"FILE.safetensors\")";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_often_found_in_place_of_weights_is_named() {
        for (bytes, expected) in [
            (&b""[..], "it is empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid",
                "`git lfs pull`",
            ),
            (b"\n<!DOCTYPE html><html>", "a web page"),
            (b"<HTML>", "a web page"),
            (
                b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
                "before PyTorch 1.6",
            ),
            (b"\x89HDF\r\n", "Keras"),
        ] {
            let found = foreign(bytes).unwrap();
            assert!(found.contains(expected), "{found}");
        }
        assert_eq!(foreign(b"anything else"), None);
    }
}
