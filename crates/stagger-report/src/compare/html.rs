//! Results as one self-contained page.

use std::path::Path;

use askama::Template;

use super::figures::figures;
use super::method::Comparison;
use super::run::{PlannedRun, RunState};
use super::table::{main_table, slowdown_table};
use super::{NO_BARRIERS, emulated_note};
use crate::charts::Figure;
use crate::environment::Environment;
use crate::error::ReportError;
use crate::table::Table;

/// The page. The template engine escapes all texts but the charts.
#[derive(Template)]
#[template(path = "compare/report.html")]
struct Page<'a> {
    title: &'a str,
    command: &'a str,
    note: String,
    environments: Vec<Vec<(&'static str, String)>>,
    tables: Vec<Table>,
    figures: Vec<Figure>,
    failures: Vec<Row>,
    runs: Vec<Row>,
    slowed: bool,
}

/// A run in a list.
struct Row {
    method: String,
    slowdown: String,
    seed: u64,
    state: &'static str,
    text: String,
}

/// The report as a page of HTML, which contains its charts and loads nothing.
///
/// # Errors
/// [`ReportError::Encode`] when a chart cannot be drawn.
pub fn to_html(comparison: &Comparison) -> Result<String, ReportError> {
    let encode = |what: String| ReportError::Encode {
        path: Path::new("report.html").to_owned(),
        what,
    };
    let plan = &comparison.plan;
    let mut tables = vec![main_table(comparison)];
    tables.extend(slowdown_table(comparison));
    let all = || plan.runs.iter().zip(&comparison.states);
    let page = Page {
        title: &plan.title,
        command: &plan.command,
        note: match &plan.emulated {
            Some(said) => format!("{} {NO_BARRIERS}", emulated_note(said)),
            None => NO_BARRIERS.to_owned(),
        },
        environments: comparison
            .environments
            .iter()
            .map(Environment::facts)
            .chain(comparison.faults().map(|why| vec![("unknown", why)]))
            .collect(),
        tables,
        figures: figures(comparison).map_err(|error| encode(error.to_string()))?,
        failures: all().filter_map(failure).collect(),
        runs: all().map(command).collect(),
        slowed: plan.slowdowns_percent != [0.0],
    };
    page.render().map_err(|error| encode(error.to_string()))
}

fn failure((run, state): (&PlannedRun, &RunState)) -> Option<Row> {
    match state {
        RunState::Failed(error) => Some(row(run, state, error.clone())),
        _ => None,
    }
}

fn command((run, state): (&PlannedRun, &RunState)) -> Row {
    row(run, state, run.command.clone())
}

fn row(run: &PlannedRun, state: &RunState, text: String) -> Row {
    Row {
        method: run.method.clone(),
        slowdown: format!("{} %", run.slowdown_percent),
        seed: run.seed,
        state: match state {
            RunState::Done(_) => "done",
            RunState::Failed(_) => "failed",
            RunState::Missing => "not run",
        },
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixtures::{comparison, straggling};

    /// The page without its style and the insides of its charts.
    fn structure(page: &str) -> String {
        let mut rest = page;
        let mut outline = String::new();
        for (open, close, left) in [("<style>", "</style>", "[style]")]
            .into_iter()
            .chain(std::iter::repeat(("<svg", "</svg>", "[chart]")))
        {
            let Some((before, inside)) = rest.split_once(open) else {
                break;
            };
            let (_, after) = inside.split_once(close).expect("closed");
            outline.push_str(before);
            outline.push_str(left);
            rest = after;
        }
        outline + rest
    }

    #[test]
    fn the_page_has_all_parts() {
        let (folder, comparison) = comparison();
        let page = to_html(&comparison).unwrap();
        let outline = structure(&page).replace(&folder.path().display().to_string(), "OUT");
        insta::assert_snapshot!("html", outline);
    }

    #[test]
    fn the_page_needs_no_network_and_escapes_what_it_is_told() {
        let (_folder, comparison) = straggling();
        let page = to_html(&comparison).unwrap();
        let addresses = page.replace("http://www.w3.org/2000/svg", "");
        for word in ["http", "src=", "@import", "url("] {
            assert!(!addresses.contains(word), "{word}");
        }
        assert!(page.contains("a &#38; b") || page.contains("a &amp; b"));
        assert!(page.contains("&#60;fast&#62;") || page.contains("&lt;fast&gt;"));
        assert!(!page.contains("<fast>"));
        assert!(page.contains("there is none, so the baselines run at their best"));
    }

    #[test]
    fn emulated_figures_say_so_and_show_no_learning() {
        let (_folder, mut comparison) = straggling();
        let real = to_html(&comparison).unwrap();
        assert!(real.contains("Training loss over epochs") && !real.contains("mulated"));
        comparison.plan.emulated = Some("equal:40ms".to_owned());
        let page = to_html(&comparison).unwrap();
        for expected in [
            "Emulated (equal:40ms): stages slept for their durations and learned nothing",
            "images/s (emulated)",
            "Busy share of each stage (emulated)",
        ] {
            assert!(page.contains(expected), "{expected}");
        }
        for learned in ["Training loss over", "Test accuracy over"] {
            assert!(!page.contains(learned), "{learned}");
        }
        assert!(super::super::to_json(&comparison).contains("\"emulated\": \"equal:40ms\""));
        let csv = super::super::to_csv(&comparison);
        assert!(
            csv.lines().skip(1).all(|line| line.ends_with(",true")),
            "{csv}"
        );
    }

    /// Methods, folders, errors, hosts and builds with all that has a meaning in HTML, in texts, attributes, scripts and charts.
    #[test]
    fn no_name_becomes_a_tag() {
        let tags =
            "</title></svg></script><script>x('a')</script><img src=\"y\" onerror='z'>&lt;\u{0}";
        let (_folder, mut comparison) = straggling();
        let plan = &mut comparison.plan;
        for text in [&mut plan.title, &mut plan.command, &mut plan.baseline] {
            text.push_str(tags);
        }
        let methods = &mut plan.methods;
        methods.iter_mut().for_each(|method| method.push_str(tags));
        for run in &mut plan.runs {
            run.method.push_str(tags);
            run.command.push_str(tags);
        }
        for result in &mut comparison.results {
            result.method.push_str(tags);
            result.schedule = Some(tags.to_owned());
        }
        comparison.states[0] = RunState::Failed(tags.to_owned());
        for environment in &mut comparison.environments {
            for text in [
                &mut environment.host,
                &mut environment.cpu,
                &mut environment.git_commit,
            ] {
                *text = Some(tags.to_owned());
            }
            environment.os.push_str(tags);
            environment.architecture.push_str(tags);
            environment.stagger_version.push_str(tags);
        }
        let page = to_html(&comparison).unwrap();
        for tag in [
            "<script",
            "<img",
            "</script",
            "onerror='",
            "\"y\"",
            "x('a')",
        ] {
            assert!(!page.contains(tag), "{tag}");
        }
        let plain = to_html(&straggling().1).unwrap();
        for tag in ["</title>", "</svg>", "<svg"] {
            assert_eq!(
                page.matches(tag).count(),
                plain.matches(tag).count(),
                "{tag}"
            );
        }
        // Whether a name is in the charts, too.
        assert!(
            page.matches("&lt;script&gt;x(").count() > 0,
            "the charts name the methods"
        );
    }
}
