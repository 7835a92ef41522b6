//! Plain questions on the terminal, each with a default.

use std::io::{self, BufRead, Write};

/// Asks on one side and reads answers on the other. With `yes`, or at the end of the input, every question
/// is answered by its default.
pub(super) struct Asker<R, W> {
    input: R,
    out: W,
    yes: bool,
}

impl<R: BufRead, W: Write> Asker<R, W> {
    pub(super) fn new(input: R, out: W, yes: bool) -> Self {
        Self { input, out, yes }
    }

    pub(super) fn text(&mut self, question: &str, default: &str) -> io::Result<String> {
        if self.yes {
            return Ok(default.to_owned());
        }
        if default.is_empty() {
            write!(self.out, "{question}: ")?;
        } else {
            write!(self.out, "{question} [{default}]: ")?;
        }
        self.out.flush()?;
        let mut line = String::new();
        if self.input.read_line(&mut line)? == 0 {
            writeln!(self.out)?;
            self.yes = true;
        }
        let answer = line.trim();
        Ok(if answer.is_empty() { default.to_owned() } else { answer.to_owned() })
    }

    /// Asks until the answer can be read.
    pub(super) fn parsed<T, E: std::fmt::Display>(
        &mut self,
        question: &str,
        default: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> io::Result<T> {
        loop {
            let answer = self.text(question, default)?;
            match parse(&answer) {
                Ok(value) => return Ok(value),
                Err(e) if self.yes => return Err(io::Error::new(io::ErrorKind::InvalidInput, e.to_string())),
                Err(e) => writeln!(self.out, "  {e}")?,
            }
        }
    }

    pub(super) fn agrees(&mut self, question: &str) -> io::Result<bool> {
        let answer = self.text(&format!("{question} (y/n)"), "y")?;
        Ok(answer.to_lowercase().starts_with('y'))
    }

    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        if self.yes { Ok(()) } else { writeln!(self.out, "{text}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_again_until_it_understands_and_takes_defaults_at_the_end() {
        let mut out = Vec::new();
        let mut asker = Asker::new("warm\n7\n\nn\n".as_bytes(), &mut out, false);
        assert_eq!(asker.parsed("number", "1", str::parse::<u8>).unwrap(), 7);
        assert_eq!(asker.text("name", "hall").unwrap(), "hall");
        assert!(!asker.agrees("all of it?").unwrap());
        assert!(asker.agrees("and now?").unwrap(), "the input is at its end");
        assert!(String::from_utf8(out).unwrap().contains("number [1]: "));
        let mut silent = Vec::new();
        assert_eq!(Asker::new("x\n".as_bytes(), &mut silent, true).text("q", "d").unwrap(), "d");
        assert!(silent.is_empty());
    }
}
