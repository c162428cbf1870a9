//! The words and symbols of a notation, with their columns.

use std::iter::Peekable;
use std::str::Chars;

use super::{Fault, NotationProblem, Word};

/// One piece of the notation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    Symbol(char),
    End,
}

/// Splits a text into tokens, each with the 1-based column of its first character.
pub(super) struct Tokens<'a> {
    characters: Peekable<Chars<'a>>,
    /// Column of the next character.
    column: usize,
    /// The token after the last character.
    end: Token,
}

impl<'a> Tokens<'a> {
    /// The tokens of a text whose first character stands at `column`; behind the last one comes
    /// `end`, over and over.
    pub(super) fn new(text: &'a str, column: usize, end: Token) -> Self {
        Tokens {
            characters: text.chars().peekable(),
            column,
            end,
        }
    }

    /// The next token and its column.
    pub(super) fn next(&mut self) -> (Token, usize) {
        self.skip_space();
        let column = self.column;
        let mut word = String::new();
        while let Some(character) = self.next_if(is_word_character) {
            word.push(character);
        }
        let token = if !word.is_empty() {
            Token::Word(word)
        } else {
            self.next_if(|_| true)
                .map_or(self.end.clone(), Token::Symbol)
        };
        (token, column)
    }

    /// The next token, which has to be a word; `expected` says in an error what it stands for.
    pub(super) fn word(&mut self, expected: &'static str) -> Result<Word, Fault> {
        match self.next() {
            (Token::Word(text), column) => Ok(Word { text, column }),
            unexpected => Err(Tokens::fault(unexpected, expected)),
        }
    }

    /// Takes the next token if it is this symbol.
    pub(super) fn take(&mut self, symbol: char) -> bool {
        self.skip_space();
        self.next_if(|character| character == symbol).is_some()
    }

    /// Says that something else than this token was expected.
    pub(super) fn fault((token, column): (Token, usize), expected: &'static str) -> Fault {
        let found = match token {
            Token::Word(word) => format!("`{word}`"),
            Token::Symbol(symbol) => format!("`{}`", symbol.escape_debug()),
            Token::End => "the end".to_owned(),
        };
        Fault::at(column, NotationProblem::Unexpected { expected, found })
    }

    fn skip_space(&mut self) {
        while self.next_if(char::is_whitespace).is_some() {}
    }

    fn next_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let character = self.characters.next_if(|&character| wanted(character))?;
        self.column += 1;
        Some(character)
    }
}

fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || "_-+.".contains(character)
}
