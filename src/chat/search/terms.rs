//! What a text can be found by: one tokenizer for both databases, for queries and for highlights.
//!
//! A term is a word as it looks when neither case nor accents matter, or an emoji. Scripts that put no spaces between words
//! (Han, Kana, Thai, Lao, Myanmar, Khmer) give overlapping pairs of characters: a run ABC is the terms AB, BC and C. So any
//! part of such a run is found, a single character by the terms that begin with it, and a longer part by its pairs in a row.
//! A term's place in the list is its position: what follows each other in the text follows each other there.

use unicode_segmentation::UnicodeSegmentation as _;

use super::fold::{Class, class, fold, fold_emoji};

/// The most terms of a text; what comes after them is not found.
pub(in crate::chat) const MAX_TERMS: usize = 8_192;
/// The most bytes of a term: a longer word is found by its beginning.
const MAX_TERM_BYTES: usize = 64;

/// A term, and where in the text it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::chat) struct Term {
    pub(in crate::chat) text: String,
    pub(super) kind: Kind,
    /// In bytes of the text.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Where its first character ends, if it is of a run.
    pub(super) first_end: usize,
}

/// Which kind of term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word or an emoji.
    Whole,
    /// Two characters of a run.
    Pair,
    /// The last character of a run.
    Last,
}

/// The terms of a text, in its order.
pub(in crate::chat) fn terms(text: &str) -> Vec<Term> {
    let mut reader = Reader::default();
    for (start, cluster) in text.grapheme_indices(true) {
        if reader.terms.len() >= MAX_TERMS {
            break;
        }
        reader.read(start, cluster);
    }
    reader.end_word();
    reader.end_run();
    reader.terms.truncate(MAX_TERMS);
    reader.terms
}

/// Reads a text cluster by cluster. At most one of `word` and `run` is under way.
#[derive(Default)]
struct Reader {
    terms: Vec<Term>,
    word: String,
    word_range: (usize, usize),
    run: Vec<Character>,
}

/// A character of a run, and where it stands.
struct Character {
    c: char,
    start: usize,
    end: usize,
}

impl Reader {
    fn read(&mut self, start: usize, cluster: &str) {
        let Some(first) = cluster.chars().next() else { return };
        let end = start + cluster.len();
        match class(first) {
            Class::Word => {
                self.end_run();
                if self.word.is_empty() {
                    self.word_range.0 = start;
                }
                fold(cluster, &mut self.word);
                self.word_range.1 = end;
            }
            Class::Spaceless => {
                self.end_word();
                let mut folded = String::new();
                fold(cluster, &mut folded);
                self.run.extend(folded.chars().map(|c| Character { c, start, end }));
            }
            Class::Emoji => {
                self.end_word();
                self.end_run();
                let mut folded = String::new();
                fold_emoji(cluster, &mut folded);
                self.add(folded, Kind::Whole, (start, end), end);
            }
            Class::Silent => {}
            Class::Gap => {
                self.end_word();
                self.end_run();
            }
        }
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        let range = self.word_range;
        self.add(word, Kind::Whole, range, range.1);
    }

    fn end_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        for (i, first) in run.iter().enumerate() {
            let (kind, last) = match run.get(i + 1) {
                Some(second) => (Kind::Pair, second),
                None => (Kind::Last, first),
            };
            let text = if kind == Kind::Pair { [first.c, last.c].iter().collect() } else { first.c.to_string() };
            self.add(text, kind, (first.start, last.end), first.end);
        }
    }

    fn add(&mut self, mut text: String, kind: Kind, (start, end): (usize, usize), first_end: usize) {
        text.truncate(text.floor_char_boundary(MAX_TERM_BYTES));
        if !text.is_empty() {
            self.terms.push(Term { text, kind, start, end, first_end });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        terms(text).into_iter().map(|term| term.text).collect()
    }

    #[test]
    fn texts_have_these_terms() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (" \t\n.,;!?*\"'", &[]),
            ("Hello, World!", &["hello", "world"]),
            ("Don't stop", &["don", "t", "stop"]),
            ("ana@example.com 3.14 snake_case", &["ana", "example", "com", "3", "14", "snake", "case"]),
            ("CAFÉ cafe\u{301} Straße STRASSE", &["cafe", "cafe", "strasse", "strasse"]),
            ("Über Łódź Ørsted İstanbul ışık", &["uber", "lodz", "orsted", "istanbul", "isik"]),
            ("Ёлка и йод", &["елка", "и", "иод"]),
            ("ΟΔΟΣ οδός", &["οδοσ", "οδοσ"]),
            ("مُحَمَّد مـــرحبا", &["محمد", "مرحبا"]),
            ("שָׁלוֹם צה״ל", &["שלום", "צהל"]),
            ("हिन्दी भाषा", &["हिन्दी", "भाषा"]),
            ("한국어 배우기", &["한국어", "배우기"]),
            ("می\u{200c}خواهم", &["میخواهم"]),
            ("co\u{ad}operate", &["cooperate"]),
            ("東京都", &["東京", "京都", "都"]),
            ("東", &["東"]),
            ("東京、大阪", &["東京", "京", "大阪", "阪"]),
            ("私はabc食べる2", &["私は", "は", "abc", "食べ", "べる", "る", "2"]),
            ("カタカナ・ｶﾞｷﾞ", &["カタ", "タカ", "カナ", "ナ", "ガギ", "ギ"]),
            ("สวัสดี", &["สว", "วั", "ัส", "สด", "ดี", "ี"]),
            ("ok👍🏽👍 👨‍👩‍👧🇩🇪❤️", &["ok", "👍", "👍", "👨‍👩‍👧", "🇩🇪", "❤"]),
        ];
        for (text, expected) in cases {
            assert_eq!(of(text), *expected, "{text}");
        }
    }

    #[test]
    fn terms_say_where_they_stand() {
        let at = |text: &str| -> Vec<String> {
            terms(text).iter().map(|term| text[term.start..term.end].to_owned()).collect()
        };
        assert_eq!(at("¡Señor Don't!"), ["Señor", "Don", "t"]);
        assert_eq!(at("x東京都."), ["x", "東京", "京都", "都"]);
        assert_eq!(at("👍🏽 cafe\u{301}s"), ["👍🏽", "cafe\u{301}s"]);
    }

    #[test]
    fn terms_are_bounded_in_length_and_number() {
        let long = of(&"ä".repeat(100));
        assert_eq!(long, ["a".repeat(64)]);
        let wide = of(&"ж".repeat(100));
        assert_eq!(wide, ["ж".repeat(32)]);
        assert_eq!(of(&"a ".repeat(20_000)).len(), MAX_TERMS);
        assert_eq!(of(&"東".repeat(10_000)).len(), MAX_TERMS);
    }

    #[test]
    fn no_text_makes_a_term_that_an_engine_could_misread() {
        let all: String = (0..=0x10_ffff).filter_map(char::from_u32).flat_map(|c| [c, ' ']).collect();
        for (i, piece) in all.chars().collect::<Vec<_>>().chunks(4_096).enumerate() {
            for term in terms(&piece.iter().collect::<String>()) {
                let odd = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric() || c.is_whitespace() || c == '\u{e000}';
                assert!(!term.text.contains(odd), "{i}: {:?}", term.text);
            }
        }
    }
}
