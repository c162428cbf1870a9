//! Charts as SVG.

use std::ops::Range;

use plotters::backend::SVGBackend;
use plotters::chart::ChartBuilder;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{PathElement, Rectangle, Text};
use plotters::series::LineSeries;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{BLACK, Color, IntoFont, RGBAColor, RGBColor, ShapeStyle};

/// Readable on a white and on a black background.
const COLORS: [RGBColor; 10] = [
    RGBColor(0x3b, 0x82, 0xd6),
    RGBColor(0xe0, 0x7b, 0x2a),
    RGBColor(0x2f, 0x9e, 0x68),
    RGBColor(0xd1, 0x4f, 0x56),
    RGBColor(0x92, 0x6c, 0xc4),
    RGBColor(0x8f, 0x7a, 0x55),
    RGBColor(0xce, 0x62, 0xa0),
    RGBColor(0x1f, 0x9b, 0xb0),
    RGBColor(0x84, 0x8b, 0x96),
    RGBColor(0xa8, 0x98, 0x1c),
];
const WIDTH: u32 = 760;
const FONT: &str = "sans-serif";
const FONT_SIZE: u32 = 15;
/// Approximate width of a character of that size: there is no font to measure with.
const CHARACTER: u32 = 7;
const LINE_HEIGHT: u32 = 18;

/// An error of drawing a chart.
pub type ChartError = DrawingAreaErrorKind<std::io::Error>;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A chart with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// The title.
    pub title: String,
    /// The chart, as SVG.
    pub svg: String,
    /// The caption.
    pub caption: String,
}

/// One method or run in a line chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// Points of the thick line.
    pub mean: Vec<(f64, f64)>,
    /// Points of the thin lines, one per seed.
    pub each: Vec<Vec<(f64, f64)>>,
}

/// A chart of lines over a common axis; `None` if no line has two points.
pub fn lines(
    x: &str,
    y: &str,
    from_zero: bool,
    lines: &[Line],
) -> Result<Option<String>, ChartError> {
    let points = || {
        lines
            .iter()
            .flat_map(|line| line.each.iter().chain([&line.mean]).flatten())
    };
    let points = || points().filter(|(x, y)| x.is_finite() && y.is_finite());
    if lines.iter().all(|line| line.mean.len() < 2) {
        return Ok(None);
    }
    let xs = span(points().map(|(x, _)| *x), true);
    let ys = span(points().map(|(_, y)| *y), from_zero);
    let legend_height = legend_rows(lines.iter().map(|line| line.name.as_str())) * LINE_HEIGHT;
    let height = 300 + legend_height;
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        let (legend, plot) = root.split_vertically(legend_height);
        draw_legend(&legend, lines.iter().map(|line| line.name.as_str()))?;
        let mut chart = ChartBuilder::on(&plot)
            .margin(8)
            .x_label_area_size(42)
            .y_label_area_size(62)
            .build_cartesian_2d(xs, ys)?;
        chart
            .configure_mesh()
            .light_line_style(RGBAColor(0, 0, 0, 0.0))
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(BLACK.mix(0.5))
            .label_style((FONT, FONT_SIZE))
            .x_label_formatter(&|x| plain(*x))
            .y_label_formatter(&|y| plain(*y))
            .x_desc(x)
            .y_desc(y)
            .draw()?;
        for (at, line) in lines.iter().enumerate() {
            let finite = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                let finite = points
                    .iter()
                    .filter(|(x, y)| x.is_finite() && y.is_finite());
                finite.copied().collect()
            };
            if line.each.len() > 1 {
                for seed in &line.each {
                    let thin = color(at).mix(0.35).stroke_width(1);
                    chart.draw_series(LineSeries::new(finite(seed), thin))?;
                }
            }
            let thick = color(at).stroke_width(2);
            chart.draw_series(LineSeries::new(finite(&line.mean), thick))?;
        }
        root.present()?;
    }
    Ok(Some(themed(&svg)))
}

/// One group of horizontal bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Bars {
    /// Its name.
    pub name: String,
    /// One bar per series.
    pub values: Vec<f64>,
}

/// A chart of groups of horizontal bars from 0 to `most` (by default the largest value), with their values beside them;
/// `None` without bars.
pub fn bars(
    series: &[String],
    most: Option<f64>,
    label: impl Fn(f64) -> String,
    groups: &[Bars],
) -> Result<Option<String>, ChartError> {
    let values = || groups.iter().flat_map(|group| group.values.iter().copied());
    let largest = most.unwrap_or_else(|| values().fold(0.0, f64::max));
    if values().next().is_none() || largest.is_nan() || largest <= 0.0 {
        return Ok(None);
    }
    let names = || series.iter().map(String::as_str);
    let legend_height = if series.len() > 1 {
        legend_rows(names()) * LINE_HEIGHT
    } else {
        0
    };
    let thickness = 14;
    let rows: usize = groups.iter().map(|group| group.values.len()).sum();
    let gap = 8;
    let height = legend_height + rows as u32 * (thickness + 2) + groups.len() as u32 * gap + 8;
    let longest = groups.iter().map(|group| group.name.chars().count()).max();
    let left = i32::try_from(longest.unwrap_or(0) as u32 * CHARACTER + 16).unwrap_or_default();
    let room = f64::from(WIDTH as i32 - left - 90).max(60.0);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        if legend_height > 0 {
            draw_legend(&root, names())?;
        }
        let mut y = legend_height as i32 + 6;
        for group in groups {
            let block = group.values.len() as i32 * (thickness as i32 + 2);
            root.draw(&text(&group.name, (left - 8, y + block / 2), HPos::Right))?;
            for (at, value) in group.values.iter().enumerate() {
                let length = (room * value.clamp(0.0, largest) / largest).round() as i32;
                let corners = |length: i32| [(left, y), (left + length, y + thickness as i32)];
                root.draw(&Rectangle::new(
                    corners(room as i32),
                    BLACK.mix(0.06).filled(),
                ))?;
                root.draw(&Rectangle::new(corners(length.max(1)), color(at).filled()))?;
                let beside = (left + room as i32 + 6, y + thickness as i32 / 2);
                root.draw(&text(&label(*value), beside, HPos::Left))?;
                y += thickness as i32 + 2;
            }
            y += gap as i32;
        }
        root.present()?;
    }
    Ok(Some(themed(&svg)))
}

/// A number of an axis without digits that say nothing.
fn plain(number: f64) -> String {
    let text = match number.abs() {
        small if small > 0.0 && small < 1e-3 => return format!("{number:e}"),
        _ => format!("{number:.6}"),
    };
    let short = text.trim_end_matches('0').trim_end_matches('.');
    match short {
        "-0" => "0".to_owned(),
        _ => short.to_owned(),
    }
}

fn color(at: usize) -> RGBColor {
    COLORS[at % COLORS.len()]
}

fn text(words: &str, at: (i32, i32), anchor: HPos) -> Text<'static, (i32, i32), String> {
    let style = (FONT, FONT_SIZE).into_font().color(&BLACK);
    Text::new(
        words.to_owned(),
        at,
        style.pos(Pos::new(anchor, VPos::Center)),
    )
}

/// Places of the entries of a legend: (x, row).
fn legend_places<'a>(names: impl Iterator<Item = &'a str>) -> Vec<(u32, u32)> {
    let (mut x, mut row) = (8, 0);
    names
        .map(|name| {
            let width = 34 + name.chars().count() as u32 * CHARACTER;
            if x > 8 && x + width > WIDTH {
                (x, row) = (8, row + 1);
            }
            let place = (x, row);
            x += width;
            place
        })
        .collect()
}

fn legend_rows<'a>(names: impl Iterator<Item = &'a str>) -> u32 {
    legend_places(names).last().map_or(1, |(_, row)| row + 1)
}

fn draw_legend<'a>(
    area: &Area<'_>,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), ChartError> {
    for (at, ((x, row), name)) in legend_places(names.clone())
        .into_iter()
        .zip(names)
        .enumerate()
    {
        let (x, y) = (x as i32, (row * LINE_HEIGHT + LINE_HEIGHT / 2) as i32);
        let style: ShapeStyle = color(at).stroke_width(3);
        area.draw(&PathElement::new(vec![(x, y), (x + 14, y)], style))?;
        area.draw(&text(name, (x + 20, y), HPos::Left))?;
    }
    Ok(())
}

/// From the smallest number (or from 0) to the largest, with some room above.
fn span(numbers: impl Iterator<Item = f64>, from_zero: bool) -> Range<f64> {
    let (least, most) = numbers.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), number| (least.min(number), most.max(number)),
    );
    if !(least.is_finite() && most.is_finite()) {
        return 0.0..1.0;
    }
    let least = if from_zero { least.min(0.0) } else { least };
    let room = if most > least {
        (most - least) * 0.04
    } else {
        1.0
    };
    let below = if from_zero { 0.0 } else { room };
    (least - below)..(most + room)
}

/// Lets text and axes take the colour of the page's text, and the chart the width that the page gives it.
fn themed(svg: &str) -> String {
    let size = format!("<svg width=\"{WIDTH}\" ");
    svg.replacen(&size, "<svg role=\"img\" ", 1)
        .replace("\"#000000\"", "\"currentColor\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(mean: &[(f64, f64)]) -> Line {
        Line {
            name: "dsp".into(),
            mean: mean.to_vec(),
            each: vec![mean.to_vec(), mean.to_vec()],
        }
    }

    #[test]
    fn a_chart_takes_the_colours_of_its_page() {
        let chart = lines("epochs", "loss", false, &[line(&[(0.0, 1.0), (1.0, 0.5)])]);
        let chart = chart.unwrap().unwrap();
        assert!(chart.starts_with("<svg role=\"img\" "), "{chart}");
        assert!(chart.contains("viewBox"), "{chart}");
        assert!(chart.contains("currentColor"), "{chart}");
        assert!(!chart.contains("#000000"), "{chart}");
        for words in ["epochs", "loss", "dsp"] {
            assert!(chart.contains(words), "{chart}");
        }
        // Two thin lines and the mean.
        assert_eq!(chart.matches("#3B82D6").count(), 4);
    }

    #[test]
    fn numbers_of_axes_are_short() {
        for (number, expected) in [
            (20.0, "20"),
            (0.0, "0"),
            (-0.0, "0"),
            (1.2, "1.2"),
            (0.30000000000000004, "0.3"),
            (100_000.0, "100000"),
            (2e-4, "2e-4"),
        ] {
            assert_eq!(plain(number), expected);
        }
    }

    #[test]
    fn nothing_to_show_is_no_chart() {
        assert_eq!(lines("x", "y", true, &[]).unwrap(), None);
        assert_eq!(lines("x", "y", true, &[line(&[(1.0, 1.0)])]).unwrap(), None);
        assert_eq!(bars(&[], None, |v| v.to_string(), &[]).unwrap(), None);
    }

    #[test]
    fn numbers_that_are_none_do_not_stretch_the_axes() {
        let broken = line(&[
            (0.0, 1.0),
            (1.0, f64::NAN),
            (2.0, 3.0),
            (3.0, f64::INFINITY),
        ]);
        assert!(lines("x", "y", true, &[broken]).unwrap().is_some());
        assert_eq!(span([].into_iter(), true), 0.0..1.0);
        assert_eq!(span([5.0].into_iter(), false), 4.0..6.0);
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let group = |name: &str, values: &[f64]| Bars {
            name: name.into(),
            values: values.to_vec(),
        };
        let groups = [group("bp", &[10.0, 0.0]), group("dsp & <co>", &[20.0, 5.0])];
        let series = ["stage 0".to_owned(), "stage 1".to_owned()];
        let chart = bars(&series, None, |value| format!("{value} s"), &groups);
        let chart = chart.unwrap().unwrap();
        let widths: Vec<u32> = chart
            .lines()
            .filter(|line| line.starts_with("<rect") && !line.contains("currentColor"))
            .map(|line| {
                let width = line.split(" width=\"").nth(1).unwrap();
                width.split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        assert_eq!(widths.len(), 4, "{chart}");
        assert!(widths[2].abs_diff(2 * widths[0]) <= 2, "{widths:?}");
        assert!(chart.contains("dsp &amp; &lt;co&gt;"), "{chart}");
    }
}
