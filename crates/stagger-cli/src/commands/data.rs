//! `stagger data`.

use std::path::Path;

use anyhow::anyhow;
use stagger::data::{shown_json, shown_path};
use stagger::report::{NewFile, ReportError};
use stagger::{InspectedData, inspect_data};

use super::print;
use crate::failure::Failure;
use crate::flags::{DataArgs, DataCommand, InspectDataArgs};

/// Does what is asked with a folder of images.
pub fn run(arguments: &DataArgs) -> Result<(), Failure> {
    match &arguments.command {
        DataCommand::Inspect(arguments) => inspect(arguments),
    }
}

/// Tells what a folder is.
fn inspect(arguments: &InspectDataArgs) -> Result<(), Failure> {
    let sheet = match &arguments.contact_sheet {
        Some(path) => Some((SheetFormat::of(path)?, NewFile::at(path)?)),
        None => None,
    };
    let found = inspect_data(&arguments.folder, arguments.options())?;
    // What is wrong with it is told before anything is printed.
    if let Some((format, file)) = &sheet {
        let drawn = format.draw(&found, arguments.samples)?;
        file.write(&drawn).map_err(Failure::of_run)?;
    }
    match arguments.json {
        true => print(&shown_json(&format!("{:#}\n", found.to_json())))?,
        false => print(&found.to_string())?,
    }
    if let (Some((format, file)), false) = (sheet, arguments.json) {
        let rows = match format {
            SheetFormat::Html => "",
            SheetFormat::Png => ", a row for each class in the order of their labels",
        };
        print(&format!(
            "contact sheet: {}{rows}\n",
            shown_path(file.path())
        ))?;
    }
    Ok(())
}

/// The format of a contact sheet.
#[derive(Clone, Copy)]
enum SheetFormat {
    Html,
    Png,
}

impl SheetFormat {
    fn of(path: &Path) -> Result<Self, ReportError> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(Self::Html),
            Some("png") => Ok(Self::Png),
            _ => Err(ReportError::Ending {
                path: path.to_owned(),
                expected: ".html or .png",
            }),
        }
    }

    fn draw(self, found: &InspectedData, samples: usize) -> Result<Vec<u8>, Failure> {
        let sheet = found.contact_sheet(samples)?;
        let bytes = match self {
            Self::Html => found.contact_page(&sheet).map(String::into_bytes),
            Self::Png => sheet.to_png(),
        };
        Ok(bytes.map_err(|what| anyhow!(what))?)
    }
}
