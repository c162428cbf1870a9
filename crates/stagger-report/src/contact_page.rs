//! A contact sheet as one self-contained page.

use askama::Template;

use crate::base64::base64;

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

#[cfg(test)]
mod tests {
    use super::*;

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
