//! What in a text matches a query. It says so by the same terms as the index, so it also proves that a text still matches.

use super::{
    query::{Part, Query},
    terms::{Kind, Term, terms},
};

/// The most parts of a text that are highlighted.
pub const MAX_HIGHLIGHTS: usize = 32;

/// A part of a text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Highlight {
    /// Where it begins.
    pub offset: usize,
    /// How many bytes it takes.
    pub length: usize,
}

/// What in `text` matches, in its order; `None` if not all of the query does.
pub(super) fn highlights(query: &Query, text: &str) -> Option<Vec<Highlight>> {
    let terms = terms(text);
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for part in &query.parts {
        let before = ranges.len();
        for row in terms.windows(part.terms.len()).filter(|row| fits(part, row)) {
            mark(part, row, &mut ranges);
        }
        if ranges.len() == before {
            return None;
        }
    }
    ranges.sort_unstable();
    let mut merged: Vec<(usize, usize)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => merged.push((start, end)),
        }
    }
    merged.truncate(MAX_HIGHLIGHTS);
    Some(merged.into_iter().map(|(start, end)| Highlight { offset: start, length: end - start }).collect())
}

fn fits(part: &Part, row: &[Term]) -> bool {
    let last = row.len().saturating_sub(1);
    part.terms.iter().zip(row).enumerate().all(|(i, (wanted, term))| match part.prefix && i == last {
        true => term.text.starts_with(wanted.as_str()),
        false => term.text == *wanted,
    })
}

/// Each word of a phrase by itself; but a word that has several terms, such as "don't", as one.
fn mark(part: &Part, row: &[Term], ranges: &mut Vec<(usize, usize)>) {
    let (Some(first), Some(last)) = (row.first(), row.last()) else { return };
    // A single character of a run was looked for as the beginning of a pair: the second is none of it.
    let end = |term: &Term, is_last: bool| match term.kind {
        Kind::Pair if part.prefix && is_last => term.first_end,
        Kind::Whole | Kind::Pair | Kind::Last => term.end,
    };
    if part.quoted {
        let count = row.len();
        ranges.extend(row.iter().enumerate().map(|(i, term)| (term.start, end(term, i + 1 == count))));
    } else {
        ranges.push((first.start, end(last, true)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'t>(query: &str, text: &'t str) -> Option<Vec<&'t str>> {
        let found = highlights(&Query::parse(query).unwrap(), text)?;
        Some(found.iter().map(|h| &text[h.offset..h.offset + h.length]).collect())
    }

    #[test]
    fn what_matches_is_highlighted() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("one", "One two one.", &["One", "one"]),
            ("two one", "One two one.", &["One", "two", "one"]),
            ("\"two one\"", "One two one.", &["two", "one"]),
            ("t*", "One two one three", &["two", "three"]),
            ("don't", "You don't, don’t. Don", &["don't", "don’t"]),
            ("cafe", "Cafe\u{301}s, CAFÉ!", &["CAFÉ"]),
            ("caf*", "Cafe\u{301}s, CAFÉ!", &["Cafe\u{301}s", "CAFÉ"]),
            ("東京都", "新東京都庁と東京", &["東京都"]),
            ("東京", "新東京都庁と東京", &["東京", "東京"]),
            ("京", "東京都と京", &["京", "京"]),
            ("東京 都庁", "東京都庁", &["東京", "都庁"]),
            ("東京 京都", "東京都庁", &["東京都"]),
            ("สดี", "สวัสดีครับ", &["สดี"]),
            ("👍", "ok 👍🏽👍", &["👍🏽", "👍"]),
        ];
        for (query, text, expected) in cases {
            assert_eq!(of(query, text).as_deref(), Some(*expected), "{query} in {text}");
        }
    }

    #[test]
    fn what_does_not_match_in_all_parts_does_not_match() {
        for (query, text) in [
            ("one three", "One two"),
            ("\"one three\"", "one two three"),
            ("on", "one"),
            ("one*", "on"),
            ("京東", "東京"),
            ("don't", "don, not t"),
            ("x", ""),
        ] {
            assert_eq!(of(query, text), None, "{query} in {text}");
        }
        assert_eq!(of("a", &"a ".repeat(100)).map(|all| all.len()), Some(MAX_HIGHLIGHTS));
    }
}
