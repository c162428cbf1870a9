//! What is told of a comparison.

use std::path::PathBuf;

use anyhow::Result;
use stagger::report::compare::{
    Comparison, NO_BARRIERS, emulated_note, main_table, slowdown_table, to_csv, to_html, to_json,
};

use crate::commands::series::SeriesFolder;

/// Writes the files; gives the path of the report.
pub fn write(comparison: &Comparison, folder: &SeriesFolder) -> Result<PathBuf> {
    folder.write("compare.csv", &to_csv(comparison))?;
    folder.write("compare.json", &to_json(comparison))?;
    folder.write("report.html", &to_html(comparison)?)
}

/// The tables, for a terminal.
pub fn tables(comparison: &Comparison) -> String {
    let mut text = format!("\n{}\n", main_table(comparison));
    if let Some(table) = slowdown_table(comparison) {
        text.push_str(&format!("{table}\n"));
    }
    if let Some(said) = &comparison.plan.emulated {
        text.push_str(&emulated_note(said));
        text.push('\n');
    }
    text.push_str(NO_BARRIERS);
    text.push('\n');
    text
}
