//! What does not fit, as a sentence with a short table.

use std::fmt;

use stagger_data::shown_text;
use stagger_engine::StageState;

use super::Expected;

/// Rows of each kind that are shown.
const ROWS: usize = 4;

/// How weights and a model differ.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// Tensors are missing, too many or of other shapes.
    Tensors(Box<Differences>),
    /// The weights are there under two prefixes.
    Twice {
        /// The first.
        one: String,
        /// The second.
        other: String,
    },
}

/// Tensors that are missing, too many or of other shapes.
#[derive(Debug, Default)]
pub struct Differences {
    /// Name, shape in the model, nearest name in the file.
    missing: Vec<(String, Vec<usize>)>,
    /// Name, and shape; a counter has none.
    extra: Vec<(String, Vec<usize>)>,
    /// Name, shape in the model, shape found.
    other_shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// All names in the model, and all names found.
    names: (Vec<String>, Vec<String>),
    /// Whether it is all about the last linear layer.
    head_only: bool,
}

impl Misfit {
    /// The differences between a model's tensors and a state, if there are any.
    pub(super) fn of(expected: &Expected, state: &StageState) -> Option<Self> {
        let mut found = Differences::default();
        for (name, shape) in &expected.shapes {
            match state.tensors.get(name) {
                None => found.missing.push((name.clone(), shape.clone())),
                Some(tensor) if tensor.shape != *shape => {
                    let there = tensor.shape.clone();
                    found
                        .other_shapes
                        .push((name.clone(), shape.clone(), there));
                }
                Some(_) => {}
            }
        }
        let is_of_optimizer = |name: &str| {
            let slot = name.strip_prefix("optimizer.");
            let parameter = slot.and_then(|slot| slot.rsplit_once('.'));
            parameter.is_some_and(|(parameter, _)| expected.shapes.contains_key(parameter))
        };
        for (name, tensor) in &state.tensors {
            if !expected.shapes.contains_key(name) && !is_of_optimizer(name) {
                found.extra.push((name.clone(), tensor.shape.clone()));
            }
        }
        for name in state.counters.keys() {
            if !expected.counters.contains(name) {
                found.extra.push((name.clone(), Vec::new()));
            }
        }
        let wrong = (found.missing.iter().map(|(name, _)| name))
            .chain(found.extra.iter().map(|(name, _)| name))
            .chain(found.other_shapes.iter().map(|(name, ..)| name));
        let mut wrong = wrong.peekable();
        wrong.peek()?;
        found.head_only =
            wrong.all(|name| expected.is_of_head(name) || super::names::is_of_some_head(name));
        found.names = (
            expected.shapes.keys().cloned().collect(),
            state.tensors.keys().cloned().collect(),
        );
        Some(Self::Tensors(Box::new(found)))
    }

    /// Whether all that does not fit belongs to the last linear layer.
    pub fn is_of_head_only(&self) -> bool {
        matches!(self, Self::Tensors(found) if found.head_only)
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensors(found) => found.fmt(f),
            Self::Twice { one, other } => write!(
                f,
                "they are there twice, under `{}` and under `{}`; keep one of them in the file",
                shown_text(one),
                shown_text(other)
            ),
        }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = [
            (self.missing.len(), "missing"),
            (self.extra.len(), "not of this model"),
            (self.other_shapes.len(), "of another shape"),
        ];
        let counts: Vec<String> = counts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| match count {
                1 => format!("1 tensor is {what}"),
                _ => format!("{count} tensors are {what}"),
            })
            .collect();
        f.write_str(&counts.join(", "))?;
        for row in self.rows() {
            write!(f, "\n  {row}")?;
        }
        Ok(())
    }
}

impl Differences {
    fn rows(&self) -> Vec<String> {
        let (in_model, in_file) = (&self.names.0, &self.names.1);
        let mut rows: Vec<[String; 3]> = Vec::new();
        let mut left = Vec::new();
        for (name, expected, found) in self.other_shapes.iter().take(ROWS) {
            let what = format!("{found:?} instead of {expected:?}");
            rows.push([
                "other shape".into(),
                format!("{} {what}", shown_text(name)),
                String::new(),
            ]);
        }
        left.push(self.other_shapes.len().saturating_sub(ROWS));
        let extra: Vec<String> = self.extra.iter().map(|(name, _)| name.clone()).collect();
        let missing: Vec<String> = self.missing.iter().map(|(name, _)| name.clone()).collect();
        for (kind, list, others, all, whose) in [
            ("missing", &self.missing, &extra, in_file, "there"),
            ("not of this model", &self.extra, &missing, in_model, "here"),
        ] {
            for (name, shape) in list.iter().take(ROWS) {
                // One that is at a loss for a partner, before any other.
                let near = nearest(name, others).or_else(|| nearest(name, all));
                let near = near.map(|near| format!("nearest {whose}: {}", shown_text(near)));
                rows.push([
                    kind.into(),
                    format!("{} {shape:?}", shown_text(name)),
                    near.unwrap_or_default(),
                ]);
            }
            left.push(list.len().saturating_sub(ROWS));
        }
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
        let (first, second) = (width(0), width(1));
        let mut lines: Vec<String> = rows
            .iter()
            .map(|[kind, tensor, near]| {
                let line = format!("{kind:first$}  {tensor:second$}  {near}");
                line.trim_end().to_owned()
            })
            .collect();
        let left: usize = left.iter().sum();
        if left > 0 {
            lines.push(format!("and {left} more"));
        }
        lines
    }
}

/// The name most like this one, if any is like it.
fn nearest<'a>(name: &str, names: &'a [String]) -> Option<&'a str> {
    let likeness = |other: &&String| strsim::levenshtein(name, other);
    let nearest = names.iter().min_by_key(likeness)?;
    (2 * strsim::levenshtein(name, nearest) <= name.len()).then_some(nearest)
}
