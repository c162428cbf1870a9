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
/// Beyond it numbers are drawn at the edge: a file may say any number, and the span of an axis has to be one, too.
const FARTHEST: f64 = 1e300;
/// Least span of an axis as a share of its numbers: ticks that are closer are not told apart, and looking for them does not end.
const LEAST_SPAN: f64 = 1e-9;

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
        let all = lines
            .iter()
            .flat_map(|line| line.each.iter().chain([&line.mean]));
        all.flat_map(|points| drawn(points))
    };
    if lines.iter().all(|line| line.mean.len() < 2) {
        return Ok(None);
    }
    let xs = span(points().map(|(x, _)| x), true);
    let ys = span(points().map(|(_, y)| y), from_zero);
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
            if line.each.len() > 1 {
                for seed in &line.each {
                    let thin = color(at).mix(0.35).stroke_width(1);
                    chart.draw_series(LineSeries::new(drawn(seed), thin))?;
                }
            }
            let thick = color(at).stroke_width(2);
            chart.draw_series(LineSeries::new(drawn(&line.mean), thick))?;
        }
        root.present()?;
    }
    Ok(Some(themed(&svg)))
}

/// The points that have a place in a chart.
fn drawn(points: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    let near = |number: f64| number.clamp(-FARTHEST, FARTHEST);
    let finite = points
        .iter()
        .filter(|(x, y)| x.is_finite() && y.is_finite());
    finite.map(move |(x, y)| (near(*x), near(*y)))
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
    let finite = || values().filter(|value| value.is_finite());
    let largest = most.unwrap_or_else(|| finite().fold(0.0, f64::max));
    if values().next().is_none() || !largest.is_finite() || largest <= 0.0 {
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
                let length = (room * (value.clamp(0.0, largest) / largest)).round() as i32;
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
    let short = |text: &str| text.trim_end_matches('0').trim_end_matches('.').to_owned();
    let size = number.abs();
    if size > 0.0 && !(1e-3..1e9).contains(&size) {
        let text = format!("{number:.6e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{}e{power}", short(digits));
    }
    match short(&format!("{number:.6}")).as_str() {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
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

/// From the smallest number (or from 0) to the largest, with some room above. Never empty and never infinite.
fn span(numbers: impl Iterator<Item = f64>, from_zero: bool) -> Range<f64> {
    let (least, most) = numbers.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), number| (least.min(number), most.max(number)),
    );
    if !(least.is_finite() && most.is_finite()) {
        return 0.0..1.0;
    }
    let least = if from_zero { least.min(0.0) } else { least };
    let least_span = LEAST_SPAN * least.abs().max(most.abs());
    let room = match most - least {
        0.0 => least_span.max(1.0),
        found => (found * 0.04).max(least_span),
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
            (1.2000000000000002e300, "1.2e300"),
            (-1e300, "-1e300"),
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

    /// Ticks of an axis without an end, or of one too narrow for them, were looked for without an end.
    #[test]
    fn any_numbers_have_axes() {
        let beside = f64::from_bits(1e17_f64.to_bits() + 1);
        for (least, most) in [
            (-1e308, 1e308),
            (f64::MIN, f64::MAX),
            (1e308, f64::MAX),
            (1e17, beside),
            (1e17, 1e17),
            (-1e-320, 1e-320),
            (0.0, f64::MIN_POSITIVE),
        ] {
            for from_zero in [false, true] {
                let span = span(
                    drawn(&[(least, most), (most, least)]).map(|point| point.0),
                    from_zero,
                );
                let wide = span.end - span.start;
                assert!(
                    wide > 0.0 && wide.is_finite(),
                    "{least} to {most}: {span:?}"
                );
                let both = line(&[(least, most), (most, least)]);
                let chart = lines("x", "y", from_zero, &[both]).unwrap().unwrap();
                assert!(chart.len() < 20_000, "{chart}");
            }
        }
    }

    #[test]
    fn bars_of_any_numbers_are_drawn() {
        let group = |values: &[f64]| Bars {
            name: "dsp".into(),
            values: values.to_vec(),
        };
        for most in [None, Some(100.0)] {
            let values = [f64::MAX, f64::INFINITY, f64::NAN, -1e308, 1.0];
            let chart = bars(&[], most, |_| String::new(), &[group(&values)]);
            assert_eq!(chart.unwrap().unwrap().matches("<rect").count(), 10);
        }
        let none = bars(&[], None, |_| String::new(), &[group(&[f64::INFINITY])]);
        assert_eq!(none.unwrap(), None);
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
