//! A run folder, watched from another terminal.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use stagger_report::is_closed;

use crate::draw::{Moment, draw};
use crate::error::DashboardError;
use crate::folder::FollowedFolder;
use crate::palette::Palette;
use crate::screen::{Screen, Wish};
use crate::text::text;

/// How often keys and signals are looked at.
const KEYS_EVERY: Duration = Duration::from_millis(100);
/// How often the age of the news is drawn anew.
const CLOCK: Duration = Duration::from_secs(1);
/// Columns of the picture as text.
const COLUMNS: u16 = 80;

/// How a run is watched.
#[derive(Clone, Copy, Debug)]
pub struct WatchOptions<'a> {
    /// Time between two looks at the folder.
    pub interval: Duration,
    /// What the screen looks like.
    pub palette: Palette,
    /// Ends the watching when it is raised, as by a signal.
    pub stop: &'a AtomicBool,
}

/// Shows the folder of a run on the terminal, which has to be possible ([`is_possible`](crate::is_possible)), until the user has seen enough.
///
/// # Errors
/// [`DashboardError::Folder`] when it is no run folder or cannot be read at first, [`DashboardError::Terminal`].
pub fn watch(run: &Path, options: WatchOptions<'_>) -> Result<(), DashboardError> {
    let (folder, has_more) = FollowedFolder::open(run)?;
    match on_screen(folder, has_more, options) {
        // A terminal that is gone is not watched.
        Err(error) if !is_closed(&error) => Err(DashboardError::terminal(error)),
        _ => Ok(()),
    }
}

fn on_screen(
    mut folder: FollowedFolder,
    mut has_more: bool,
    options: WatchOptions<'_>,
) -> io::Result<()> {
    let mut screen = Screen::enter()?;
    let mut looked_at = Instant::now();
    let mut drawn_at: Option<Instant> = None;
    let mut is_changed = true;
    while !options.stop.load(Ordering::SeqCst) {
        if has_more || looked_at.elapsed() >= options.interval {
            looked_at = Instant::now();
            has_more = folder.look();
            is_changed = true;
        }
        let since = drawn_at.map_or(CLOCK, |at| at.elapsed());
        if since >= CLOCK || (is_changed && since >= KEYS_EVERY) {
            let moment = Moment {
                silence: folder.silence(),
                keys: "q or Esc: leave; the run goes on",
                palette: options.palette,
            };
            screen.draw(|frame| draw(frame, &folder.seen, &moment))?;
            drawn_at = Some(Instant::now());
            is_changed = false;
        }
        let patience = if has_more { Duration::ZERO } else { KEYS_EVERY };
        match screen.wish(patience)? {
            Some(Wish::Quit | Wish::Leave | Wish::Interrupt) => break,
            Some(Wish::Redraw) => drawn_at = None,
            None => {}
        }
    }
    Ok(())
}

/// The picture of a run folder as text, as it is now.
///
/// # Errors
/// [`DashboardError::Folder`] when it is no run folder or cannot be read.
pub fn watch_once(run: &Path) -> Result<String, DashboardError> {
    let (mut folder, mut has_more) = FollowedFolder::open(run)?;
    while has_more {
        has_more = folder.look();
    }
    let moment = Moment {
        silence: folder.silence(),
        keys: "",
        palette: Palette::PLAIN,
    };
    Ok(text(&folder.seen, &moment, COLUMNS))
}
