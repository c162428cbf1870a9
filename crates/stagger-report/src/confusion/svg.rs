//! The matrix as a picture.

use plotters::backend::SVGBackend;
use plotters::drawing::{DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, FontTransform, IntoFont, RGBColor, WHITE};
use stagger_data::shown_text;

use super::Confusion;

/// Side of the matrix in pixels, where its cells are not at their least or most.
const SIDE: u32 = 720;
/// Largest side of a cell.
const MOST_CELL: u32 = 48;
/// More classes have no room for their names.
const NAMED_CLASSES: usize = 60;
/// More classes have no room for numbers.
const NUMBERED_CLASSES: usize = 20;
const FONT: &str = "sans-serif";
const FONT_SIZE: u32 = 12;
/// Approximate width of a character of that size: there is no font to measure with.
const CHARACTER: u32 = 7;
/// Longer names are cut.
const NAME: usize = 24;
const RIGHT: RGBColor = RGBColor(0x3b, 0x82, 0xd6);
const WRONG: RGBColor = RGBColor(0xd1, 0x4f, 0x56);

/// An error of drawing.
type DrawError = DrawingAreaErrorKind<std::io::Error>;

impl Confusion {
    /// The matrix as an SVG file: a line for each class, a column for what its samples were taken for, and cells that are the
    /// darker the larger their share of the class is, blue on the diagonal and red beside it. Names up to 60 classes, numbers up to
    /// 20.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn to_svg(&self) -> Result<String, DrawError> {
        let classes = self.class_names.len();
        let cell = (SIDE / classes.max(1) as u32).clamp(1, MOST_CELL);
        let names: Vec<String> = self
            .class_names
            .iter()
            .map(|name| shortened(name))
            .collect();
        let longest = names.iter().map(|name| name.chars().count()).max();
        let edge = match classes <= NAMED_CLASSES {
            true => longest.unwrap_or_default() as u32 * CHARACTER + 16,
            false => 16,
        };
        let side = edge + cell * classes as u32 + 16;
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (side, side)).into_drawing_area();
            root.fill(&WHITE)?;
            let at = |class: usize| (edge + cell * class as u32) as i32;
            let all = [(at(0), at(0)), (at(classes), at(classes))];
            root.draw(&Rectangle::new(all, BLACK.mix(0.04).filled()))?;
            for (&(label, taken_for), &count) in &self.counts {
                let Some(taken_for) = taken_for else { continue };
                let share = count as f64 / self.samples(label) as f64;
                let color = if taken_for == label { RIGHT } else { WRONG };
                // One of thousands is still seen.
                let color = color.mix(0.12 + 0.88 * share).filled();
                let (left, top) = (at(taken_for), at(label));
                let corners = [(left, top), (left + cell as i32, top + cell as i32)];
                root.draw(&Rectangle::new(corners, color))?;
                if classes <= NUMBERED_CLASSES {
                    let middle = (left + cell as i32 / 2, top + cell as i32 / 2);
                    let style = (FONT, FONT_SIZE).into_font().color(&BLACK);
                    let style = style.pos(Pos::new(HPos::Center, VPos::Center));
                    root.draw(&Text::new(count.to_string(), middle, style))?;
                }
            }
            if classes <= NAMED_CLASSES {
                for (class, name) in names.iter().enumerate() {
                    let middle = at(class) + cell as i32 / 2;
                    let style = (FONT, FONT_SIZE).into_font().color(&BLACK);
                    let left = style.pos(Pos::new(HPos::Right, VPos::Center));
                    root.draw(&Text::new(name.clone(), (at(0) - 6, middle), left))?;
                    let font = (FONT, FONT_SIZE).into_font();
                    let upright = font.transform(FontTransform::Rotate270).color(&BLACK);
                    let above = upright.pos(Pos::new(HPos::Left, VPos::Center));
                    root.draw(&Text::new(name.clone(), (middle, at(0) - 6), above))?;
                }
            }
            root.present()?;
        }
        Ok(svg)
    }
}

fn shortened(name: &str) -> String {
    let name = shown_text(name);
    if name.chars().count() <= NAME {
        return name;
    }
    let start: String = name.chars().take(NAME - 1).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use super::super::tests::confusion;

    #[test]
    fn cells_have_colours_and_names_are_escaped() {
        let found = confusion(&["a<b>", "c\u{1b}"], &[(0, 0, 3), (0, 1, 1), (1, 1, 7)]);
        let svg = found.to_svg().unwrap();
        assert_eq!(svg.matches("#3B82D6").count(), 2, "{svg}");
        assert_eq!(svg.matches("#D14F56").count(), 1, "{svg}");
        assert!(
            svg.contains("a&lt;b&gt;") && !svg.contains('\u{1b}'),
            "{svg}"
        );
        for number in ["3", "1", "7"] {
            assert!(svg.contains(&format!("\n{number}\n")), "{svg}");
        }
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn no_classes_and_many_do_not_fail() {
        assert!(confusion(&[], &[]).to_svg().is_ok());
        let names = vec!["x"; 3000];
        assert!(confusion(&names, &[(2999, 0, 1)]).to_svg().is_ok());
    }
}
