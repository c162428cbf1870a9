//! Trains a few batches with backpropagation and with DSP, and draws what each stage did when, as measured:
//!
//! ```text
//! cargo run --release -p stagger --example timeline > docs/timeline.svg
//! ```

use std::fmt::Write;
use std::time::Duration;

use stagger::engine::LearningRate;
use stagger::runtime::Acted;
use stagger::schedule::{Action, Schedule};
use stagger::{Event, ReportError, Sink, Training, TrainingOptions};

const STAGES: usize = 2;
const BATCHES: usize = 24;
/// The first batches fill caches; the picture begins after them.
const FIRST_DRAWN: usize = 8;
const DRAWN: Duration = Duration::from_millis(900);

/// A bar of the picture.
struct Bar {
    stage: usize,
    action: Action,
    start: Duration,
    end: Duration,
}

fn main() -> Result<(), stagger::Error> {
    let mut picture = Picture::new();
    for notation in ["bp", "dsp"] {
        let schedule = Schedule::parse(notation, Some(STAGES))?;
        let mut bars = Bars::default();
        train(&schedule, &mut bars)?;
        picture.row_group(&schedule.to_string(), &bars.0);
    }
    println!("{}", picture.finish());
    Ok(())
}

fn train(schedule: &Schedule, bars: &mut Bars) -> Result<(), stagger::Error> {
    let options = TrainingOptions {
        evaluate: Some(false),
        gap_every: Some(0),
        ..TrainingOptions::default()
    };
    Training::new()
        .options(options)
        .schedule(schedule.clone())
        .batch_size(128)
        .learning_rate(LearningRate::constant(0.05))
        .max_batches(BATCHES)
        .sink(bars)
        .run()?;
    Ok(())
}

/// What every stage did.
#[derive(Default)]
struct Bars(Vec<Bar>);

impl Sink for Bars {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let Event::Acted(Acted {
            stage,
            action,
            started_at,
            ended_at,
            waits,
            ..
        }) = event
        {
            // An action waits for its input before it computes.
            self.0.push(Bar {
                stage: *stage,
                action: *action,
                start: *started_at + waits.total(),
                end: *ended_at,
            });
        }
        Ok(())
    }
}

const WIDTH: f64 = 960.0;
const LEFT: f64 = 70.0;
const ROW: f64 = 34.0;

/// An SVG under construction.
struct Picture {
    body: String,
    y: f64,
}

impl Picture {
    fn new() -> Self {
        Self {
            body: String::new(),
            y: 10.0,
        }
    }

    fn text(&mut self, x: f64, size: u32, content: &str) {
        let y = self.y;
        // Writing to a string does not fail.
        let _ = writeln!(
            self.body,
            r##"<text x="{x}" y="{y}" font-size="{size}" fill="#333">{content}</text>"##
        );
    }

    fn row_group(&mut self, title: &str, bars: &[Bar]) {
        let from = bars
            .iter()
            .filter(|bar| {
                bar.stage == STAGES - 1
                    && bar.action
                        == (Action::Update {
                            version: FIRST_DRAWN,
                        })
            })
            .map(|bar| bar.end)
            .next()
            .unwrap_or_default();
        let updates = bars.iter().filter(|bar| {
            bar.stage == 0
                && matches!(bar.action, Action::Update { .. })
                && bar.end > from
                && bar.end <= from + DRAWN
        });
        let rate = updates.count() as f64 / DRAWN.as_secs_f64();
        self.y += 18.0;
        self.text(0.0, 14, &format!("{title}: {rate:.1} batches per second"));
        self.y += 8.0;
        for stage in (0..STAGES).rev() {
            let top = self.y;
            let (width, height) = (WIDTH - LEFT, ROW - 6.0);
            let _ = writeln!(
                self.body,
                r##"<rect x="{LEFT}" y="{top}" width="{width}" height="{height}" fill="#f0f0f0"/>"##
            );
            for bar in bars.iter().filter(|bar| bar.stage == stage) {
                self.bar(bar, from, top);
            }
            self.y += ROW / 2.0;
            self.text(0.0, 13, &format!("stage {stage}"));
            self.y += ROW / 2.0;
        }
        self.y += 8.0;
    }

    fn bar(&mut self, bar: &Bar, from: Duration, top: f64) {
        let scale = (WIDTH - LEFT) / DRAWN.as_secs_f64();
        let at = |time: Duration| {
            (time.as_secs_f64() - from.as_secs_f64()).clamp(0.0, DRAWN.as_secs_f64()) * scale
        };
        let (x, width) = (LEFT + at(bar.start), at(bar.end) - at(bar.start));
        let (color, batch) = match bar.action {
            Action::Forward { batch, .. } => ("#4c86c6", Some(batch)),
            Action::Recompute { batch, .. } => ("#9cc2e8", Some(batch)),
            Action::Backward { batch, .. } => ("#e08a3c", Some(batch)),
            Action::WeightGradients { batch, .. } => ("#eebb8a", Some(batch)),
            _ => ("#777777", None),
        };
        if width < 0.5 {
            return;
        }
        let height = ROW - 6.0;
        let _ = writeln!(
            self.body,
            r##"<rect x="{x:.1}" y="{top}" width="{width:.1}" height="{height}" fill="{color}" stroke="#fff" stroke-width="0.6"/>"##
        );
        if let Some(batch) = batch.filter(|_| width > 16.0) {
            let (x, y) = (x + width / 2.0, top + height / 2.0 + 4.0);
            let _ = writeln!(
                self.body,
                r##"<text x="{x:.1}" y="{y}" font-size="11" fill="#fff" text-anchor="middle">{batch}</text>"##
            );
        }
    }

    fn finish(mut self) -> String {
        self.y += 14.0;
        let legend = [
            ("#4c86c6", "forward"),
            ("#9cc2e8", "recompute"),
            ("#e08a3c", "backward"),
            ("#777777", "update"),
            ("#f0f0f0", "waiting"),
        ];
        let y = self.y;
        for (index, (color, name)) in legend.iter().enumerate() {
            let x = LEFT + 130.0 * index as f64;
            let _ = writeln!(
                self.body,
                r##"<rect x="{x}" y="{}" width="12" height="12" fill="{color}" stroke="#999"/>"##,
                y - 10.0
            );
            self.text(x + 18.0, 12, name);
        }
        let height = self.y + 12.0;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif"><rect width="{WIDTH}" height="{height}" fill="#fff"/>
{}</svg>"##,
            self.body
        )
    }
}
