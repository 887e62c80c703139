//! What somebody searches for: words, `"words in a row"` and `begin*`, all of which must be there.

use super::terms::{Kind, terms};
use crate::error::{Error, Reason, Result};

/// The most bytes of a query.
pub const MAX_QUERY_BYTES: usize = 512;
/// The most words of a query.
pub const MAX_QUERY_WORDS: usize = 16;

/// A query that was understood. It has at least one part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Query {
    pub(in crate::chat) parts: Vec<Part>,
}

/// Terms that follow each other in the text. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Part {
    pub(in crate::chat) terms: Vec<String>,
    /// Whether the last of them is only the beginning of a term.
    pub(in crate::chat) prefix: bool,
    /// Whether the caller wrote them as words of their own.
    pub(super) quoted: bool,
}

impl Query {
    /// Reads a query.
    ///
    /// # Errors
    /// SEARCH_QUERY_INVALID: it has no words or too many, a quote that nothing ends, or a `*` that ends no word.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_QUERY_BYTES {
            let what = format!("has {} bytes, at most {MAX_QUERY_BYTES} are allowed", text.len());
            return Err(Error::field("query", what));
        }
        let mut reader = Reader { rest: text, words: 0, parts: Vec::new() };
        while reader.next()? {}
        if reader.words > MAX_QUERY_WORDS {
            return Err(invalid(format!("has {} words, at most {MAX_QUERY_WORDS} are allowed", reader.words)));
        }
        if reader.parts.is_empty() {
            return Err(invalid("has no word, number or emoji to search for"));
        }
        Ok(Self { parts: reader.parts })
    }
}

struct Reader<'q> {
    rest: &'q str,
    words: usize,
    parts: Vec<Part>,
}

/// Phones write the curved ones.
const QUOTES: [char; 3] = ['"', '“', '”'];

impl<'q> Reader<'q> {
    /// Reads the next word or phrase; `false` at the end.
    fn next(&mut self) -> Result<bool> {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return Ok(false);
        }
        match self.rest.strip_prefix(QUOTES) {
            Some(quoted) => {
                let (phrase, rest) =
                    quoted.split_once(QUOTES).ok_or_else(|| invalid("has a quote that nothing ends"))?;
                self.rest = rest;
                if phrase.contains('*') || rest.starts_with('*') {
                    return Err(invalid("has a * in or after quotes; it ends a single word"));
                }
                let words = phrase.split_whitespace().filter(|word| !terms(word).is_empty()).count();
                self.add(phrase, words, false, true);
            }
            None => {
                let (word, rest) = self.rest.split_at(self.rest.find(char::is_whitespace).unwrap_or(self.rest.len()));
                self.rest = rest;
                self.word(word)?;
            }
        }
        Ok(true)
    }

    fn word(&mut self, word: &'q str) -> Result<()> {
        let stem = word.strip_suffix('*');
        if stem.unwrap_or(word).contains('*') {
            return Err(invalid("has a * inside a word; it stands at its end"));
        }
        if !self.add(stem.unwrap_or(word), 1, stem.is_some(), false) && stem.is_some() {
            return Err(invalid("has a * without the beginning of a word"));
        }
        Ok(())
    }

    /// Adds what `text` has, if that is something.
    fn add(&mut self, text: &str, words: usize, prefix: bool, quoted: bool) -> bool {
        let mut found = terms(text);
        let (mut prefix, mut last) = (prefix, found.last().map(|term| term.kind));
        // Where a run ends here it may go on in the text: its last character is looked for as a beginning, and if it ends a
        // pair, the pair says it.
        if last == Some(Kind::Last) {
            let paired = found.len() > 1 && found[found.len() - 2].kind == Kind::Pair;
            if paired {
                found.pop();
                last = Some(Kind::Pair);
            }
            prefix = !paired;
        }
        prefix &= last != Some(Kind::Pair);
        let terms: Vec<String> = found.into_iter().map(|term| term.text).collect();
        let some = !terms.is_empty();
        if some {
            self.words += words;
            self.parts.push(Part { terms, prefix, quoted });
        }
        some
    }
}

fn invalid(description: impl Into<String>) -> Error {
    Error::field_for(Reason::SearchQueryInvalid, "query", description)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        let parts = Query::parse(text).unwrap().parts;
        parts.iter().map(|part| format!("{}{}", part.terms.join(" "), if part.prefix { "*" } else { "" })).collect()
    }

    #[test]
    fn queries_mean_this() {
        let cases: &[(&str, &[&str])] = &[
            ("Hello world", &["hello", "world"]),
            ("\"hello  World\" x", &["hello world", "x"]),
            ("“smart quotes”", &["smart quotes"]),
            ("beg* \"a b\"c", &["beg*", "a b", "c"]),
            ("don't", &["don t"]),
            ("don't*", &["don t*"]),
            ("hello !!! — \"\" \"?\"", &["hello"]),
            ("東", &["東*"]),
            ("東*", &["東*"]),
            ("東京", &["東京"]),
            ("東京都*", &["東京 京都"]),
            ("京abc", &["京 abc"]),
            ("東京abc 都", &["東京 京 abc", "都*"]),
            ("abc東京", &["abc 東京"]),
            ("abc東", &["abc 東*"]),
            ("👍 x", &["👍", "x"]),
            ("a & b | !c <-> (d):* AND", &["a", "b", "c", "d"]),
        ];
        for (text, expected) in cases {
            if text.contains(":*") {
                assert!(Query::parse(text).is_ok(), "{text}");
                continue;
            }
            assert_eq!(of(text), *expected, "{text}");
        }
        assert_eq!(of("a' OR 1=1 -- \\ :b NEAR(x)"), ["a", "or", "1 1", "b", "near x"]);
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        let many = "w ".repeat(17);
        let phrase = format!("\"{many}\"");
        for text in [
            "", "  ", "!!!", "\"\"", "\"a", "a \"b c", "*", "a *", "a**", "a*b", "!*", "\"a*\"", "\"a\"*", &many,
            &phrase,
        ] {
            let error = Query::parse(text).unwrap_err();
            assert_eq!(
                (error.reason(), error.violations()[0].field.as_str()),
                (Reason::SearchQueryInvalid, "query"),
                "{text}"
            );
        }
        assert!(Query::parse(&"w ".repeat(16)).is_ok());
        assert!(Query::parse(&"w".repeat(512)).is_ok());
        assert_eq!(Query::parse(&"w".repeat(513)).unwrap_err().reason(), Reason::FieldInvalid);
    }
}
