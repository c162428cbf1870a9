//! What parts of the screen look like.

use ratatui::style::{Color, Modifier, Style};

/// Whether there are colours. Without them everything is still told apart by words, marks and boldness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    has_colours: bool,
}

impl Palette {
    /// With colours.
    pub const COLOURS: Self = Self { has_colours: true };
    /// Without.
    pub const PLAIN: Self = Self { has_colours: false };

    /// Without colours where `NO_COLOR` is set and not empty (<https://no-color.org>).
    #[must_use]
    pub fn of_environment() -> Self {
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match is_plain {
            true => Self::PLAIN,
            false => Self::COLOURS,
        }
    }

    fn colour(self, colour: Color) -> Style {
        match self.has_colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    pub(crate) fn good(self) -> Style {
        self.colour(Color::Green)
    }

    pub(crate) fn warning(self) -> Style {
        self.colour(Color::Yellow).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    pub(crate) fn title(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// Of frames, labels and what matters less.
    pub(crate) fn quiet(self) -> Style {
        self.colour(Color::DarkGray)
    }

    /// Of curves and shares of training.
    pub(crate) fn training(self) -> Style {
        self.colour(Color::Cyan)
    }

    /// Of what the test images say.
    pub(crate) fn test(self) -> Style {
        self.colour(Color::Magenta).add_modifier(Modifier::BOLD)
    }
}
