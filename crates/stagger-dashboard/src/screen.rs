//! The terminal as a screen, and its way back.

use std::io::{self, BufWriter, ErrorKind, IsTerminal, Stdout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once, TryLockError};
use std::thread;
use std::time::Duration;

use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::prelude::CrosstermBackend;
use ratatui::{Frame, Terminal};

/// Whether the terminal is a screen at present.
static IS_UP: AtomicBool = AtomicBool::new(false);
/// Held while something is written to it.
static WRITING: Mutex<()> = Mutex::new(());
static HOOK: Once = Once::new();

/// For how long a write that does not return keeps the terminal from being restored.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether there is a terminal on both sides of this process on which a screen can be drawn.
#[must_use]
pub fn is_possible() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

/// Gives the terminal back as it was, if it is a screen: to be called before anything else is written to it, and before the process
/// ends in another way than by returning from `main`. A panic does so itself.
pub fn restore() {
    if !IS_UP.swap(false, Ordering::SeqCst) {
        return;
    }
    // What is being drawn comes first, unless the terminal takes nothing any more.
    let looks = PATIENCE.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        match WRITING.try_lock() {
            Err(TryLockError::WouldBlock) => thread::sleep(LOOK_EVERY),
            _ => break,
        }
    }
    // There is nothing to be done about a terminal that is gone.
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// The terminal while it is a screen. Dropping it restores the terminal.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

/// What a user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// `q`.
    Quit,
    /// Escape.
    Leave,
    /// Ctrl-C, which is no signal on a screen.
    Interrupt,
    /// To see it anew, as the terminal has another size.
    Redraw,
}

impl Screen {
    pub fn enter() -> io::Result<Self> {
        HOOK.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                usual(info);
            }));
        });
        let out = BufWriter::new(io::stdout());
        let terminal = Terminal::new(CrosstermBackend::new(out))?;
        IS_UP.store(true, Ordering::SeqCst);
        let screen = Self { terminal };
        enable_raw_mode()?;
        // `Terminal::clear` would ask for the place of the cursor, and not every terminal answers.
        execute!(io::stdout(), EnterAlternateScreen, Clear(ClearType::All))?;
        Ok(screen)
    }

    /// Draws, unless the terminal has been given back meanwhile.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        let _writing = WRITING.lock();
        if IS_UP.load(Ordering::SeqCst) {
            self.terminal.draw(picture)?;
        }
        Ok(())
    }

    /// Waits so long, and takes a key that means something.
    ///
    /// # Errors
    /// With [`ErrorKind::BrokenPipe`] when the terminal is gone.
    pub fn wish(&self, patience: Duration) -> io::Result<Option<Wish>> {
        // Not within `poll`: it reads the end of a terminal that goes away meanwhile again and again, and never returns.
        thread::sleep(patience);
        if !io::stdin().is_terminal() {
            return Err(ErrorKind::BrokenPipe.into());
        }
        if !event::poll(Duration::ZERO)? {
            return Ok(None);
        }
        Ok(match event::read()? {
            Event::Resize(..) => Some(Wish::Redraw),
            Event::Key(key) if key.kind == KeyEventKind::Release => None,
            Event::Key(key) => match key.code {
                KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => {
                    Some(Wish::Interrupt)
                }
                KeyCode::Char('q' | 'Q') => Some(Wish::Quit),
                KeyCode::Esc => Some(Wish::Leave),
                _ => None,
            },
            _ => None,
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}
