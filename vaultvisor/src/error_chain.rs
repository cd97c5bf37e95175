//! Errors as text: for the status, for logs, for whatever holds text and no error.
//!
//! Errors chain their sources and never repeat them in their own text, so [`Chained`] has all of it once. What is in
//! that text was often read from outside: names that a file, a server or another user chose. [`Shown`] makes such a text
//! fit for people, whatever is in it.

use std::{
    error::Error,
    fmt::{self, Display, Write},
};

/// A cause is a sentence and what it quotes; a parser that quotes a whole file has said nothing more.
const MAX_CAUSE_CHARS: usize = 1000;

/// Displays an error and its causes, separated by `: `, without anything that could move a terminal's cursor.
///
/// An error's own text may have several lines. Its causes are those of libraries, which quote what they read without
/// escapes and without end: they are [`Shown`].
#[derive(Debug, Clone, Copy)]
pub struct Chained<'a>(pub &'a (dyn Error + 'static));

impl Display for Chained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { f, left: usize::MAX, keeps_lines: true }, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {}", Shown(error, MAX_CAUSE_CHARS))?;
            cause = error.source();
        }
        Ok(())
    }
}

/// Displays something for people: at most so many characters of it, on one line, with escapes for all that is not
/// printed as it stands.
#[derive(Debug, Clone, Copy)]
pub struct Shown<T>(pub T, pub usize);

impl<T: Display> Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping { f, left: self.1, keeps_lines: false }, "{}", self.0)
    }
}

/// Passes text on until there is no room.
struct Escaping<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    /// For so many characters more, the last of which says that there were others.
    left: usize,
    keeps_lines: bool,
}

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            let is_plain = is_plain(character) || (self.keeps_lines && character == '\n');
            let length = if is_plain { 1 } else { character.escape_debug().len() };
            if self.left <= length {
                // The rest of it is not shown, however much of it would fit.
                let end = if self.left > 0 { "…" } else { "" };
                self.left = 0;
                return self.f.write_str(end);
            }
            self.left -= length;
            match is_plain {
                true => self.f.write_char(character)?,
                false => Display::fmt(&character.escape_debug(), self.f)?,
            }
        }
        Ok(())
    }
}

/// Whether it stands for itself. Quotes and backslashes do: nobody reads these texts but people.
fn is_plain(character: char) -> bool {
    ['"', '\'', '\\'].contains(&character) || character.escape_debug().len() == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read \"{file}\"")]
    struct Outer {
        file: String,
        source: Inner,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("unknown variant `{0}`")]
    struct Inner(String);

    fn said(file: &str, found: String) -> String {
        Chained(&Outer { file: file.to_owned(), source: Inner(found) }).to_string()
    }

    #[test]
    fn an_error_is_one_text_with_its_causes() {
        assert_eq!(said("ü", "it's \\ é".into()), "cannot read \"ü\": unknown variant `it's \\ é`");
        assert_eq!(said("a\nb", "a\nb".into()), "cannot read \"a\nb\": unknown variant `a\\nb`");
    }

    #[test]
    fn t13_what_an_error_quotes_moves_no_cursor_and_ends() {
        let said = said("\u{1b}]0;x\u{7}", format!("\u{1b}[2J\r\u{202e}{}", "x".repeat(1_000_000)));
        assert!(
            said.starts_with(r#"cannot read "\u{1b}]0;x\u{7}": unknown variant `\u{1b}[2J\r\u{202e}xxx"#),
            "{said}"
        );
        assert!(said.ends_with("x…") && said.chars().count() < MAX_CAUSE_CHARS + 100, "{} bytes", said.len());
    }

    #[test]
    fn what_just_fits_is_shown_whole() {
        assert_eq!(Shown("abc", 4).to_string(), "abc");
        assert_eq!(Shown("abcd", 4).to_string(), "abc…");
        assert_eq!(Shown("", 0).to_string(), "");
    }
}
