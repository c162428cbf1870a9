//! A contact sheet as one self-contained page.

use askama::Template;

/// A row of the page.
#[derive(Clone, Debug)]
pub struct ContactPageRow {
    /// The name of a class.
    pub class: String,
    /// Number of its images.
    pub images: usize,
    /// A picture of some of them, as a PNG file.
    pub png: Vec<u8>,
}

struct Row<'a> {
    class: &'a str,
    images: usize,
    png_base64: String,
}

/// The template engine escapes all texts.
#[derive(Template)]
#[template(path = "contact_sheet/page.html")]
struct Page<'a> {
    title: &'a str,
    words: &'a str,
    rows: Vec<Row<'a>>,
}

/// An HTML page with a picture for each class, which needs no other file and no network.
///
/// # Errors
/// A sentence when the page cannot be written.
pub fn contact_page(title: &str, words: &str, rows: &[ContactPageRow]) -> Result<String, String> {
    let mut page = Page {
        title,
        words,
        rows: Vec::with_capacity(rows.len()),
    };
    for row in rows {
        page.rows.push(Row {
            class: &row.class,
            images: row.images,
            png_base64: base64(&row.png),
        });
    }
    page.render().map_err(|error| error.to_string())
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = three
            .iter()
            .fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        for at in 0..4 {
            text.push(match at <= chunk.len() {
                true => char::from(DIGITS[bits >> (18 - 6 * at) & 63]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vectors of RFC 4648.
    #[test]
    fn bytes_are_written_in_64_digits() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }

    #[test]
    fn names_are_escaped() {
        let row = ContactPageRow {
            class: "<script>\" onload='x'&".to_owned(),
            images: 3,
            png: b"foo".to_vec(),
        };
        let page = contact_page("a<b", "words", &[row]).unwrap();
        for raw in ["<script>", "a<b", "\" onload", "='x'"] {
            assert!(!page.contains(raw), "{raw}: {page}");
        }
        assert!(
            page.contains("src=\"data:image/png;base64,Zm9v\""),
            "{page}"
        );
    }
}
