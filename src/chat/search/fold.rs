//! What a character is to the search, and how it looks when case and accents do not matter.

use unicode_normalization::UnicodeNormalization as _;

/// What a character, with the marks that belong to it, is to the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A letter or digit of a script that puts spaces between words.
    Word,
    /// A letter of a script that does not.
    Spaceless,
    /// An emoji: a term by itself.
    Emoji,
    /// As if it were not there: a soft hyphen, a mark of direction.
    Silent,
    /// Parts words.
    Gap,
}

/// The class of a character by the first code point of its cluster.
pub(super) fn class(first: char) -> Class {
    match first {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Word,
        '\0'..='\u{7f}' => Class::Gap,
        '\u{ad}' | '\u{5f3}' | '\u{5f4}' | '\u{640}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' => {
            Class::Silent
        }
        '\u{2060}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => Class::Silent,
        c if is_spaceless(c) => Class::Spaceless,
        c if is_emoji(c) => Class::Emoji,
        c if c.is_alphanumeric() => Class::Word,
        _ => Class::Gap,
    }
}

/// Han, Hiragana, Katakana, Thai, Lao, Myanmar, Khmer.
fn is_spaceless(c: char) -> bool {
    match c {
        '\u{30a0}' | '\u{30fb}' | '\u{ff65}' => false, // the marks between words that stand among Katakana
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{19e0}'..='\u{19ff}' => {
            c.is_alphanumeric()
        }
        '\u{a9e0}'..='\u{a9ff}' | '\u{aa60}'..='\u{aa7f}' => c.is_alphanumeric(),
        '\u{2e80}'..='\u{2fd5}' | '\u{3005}' | '\u{3007}' | '\u{3021}'..='\u{3029}' | '\u{3031}'..='\u{3035}' => true,
        '\u{3038}'..='\u{303b}' | '\u{3041}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' => true,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff66}'..='\u{ff9f}' => true,
        '\u{1b000}'..='\u{1b16f}' | '\u{20000}'..='\u{323af}' => true,
        _ => false,
    }
}

fn is_emoji(c: char) -> bool {
    matches!(c, '\u{203c}' | '\u{2049}' | '\u{2190}'..='\u{21ff}' | '\u{2300}'..='\u{23ff}' | '\u{2600}'..='\u{27bf}'
        | '\u{2934}' | '\u{2935}' | '\u{2b00}'..='\u{2bff}' | '\u{3030}' | '\u{303d}' | '\u{1f000}'..='\u{1faff}')
}

/// Accents, and what Arabic and Hebrew write above and below their letters. Vowel signs of other scripts, and the marks that
/// make another letter of a Kana, are no accents.
fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}'
        | '\u{5c4}' | '\u{5c5}' | '\u{5c7}' | '\u{610}'..='\u{61a}' | '\u{640}' | '\u{64b}'..='\u{65f}' | '\u{670}'
        | '\u{6d6}'..='\u{6dc}' | '\u{6df}'..='\u{6e8}' | '\u{6ea}'..='\u{6ed}' | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Joiners and selectors of forms: they change how a text looks, not what it says.
fn is_form(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{fe00}'..='\u{fe0f}' | '\u{ad}' | '\u{180b}'..='\u{180f}')
}

/// Appends a cluster of a word, as it looks when neither case nor accents matter.
pub(super) fn fold(cluster: &str, into: &mut String) {
    if let [byte] = cluster.as_bytes() {
        into.push(byte.to_ascii_lowercase() as char);
        return;
    }
    let kept = cluster.nfkd().filter(|c| !is_accent(*c) && !is_form(*c));
    let folded = kept.flat_map(char::to_lowercase).filter(|c| !is_accent(*c)).nfc();
    for c in folded {
        match plain(c) {
            Some(plain) => into.push_str(plain),
            // What a ligature comes apart into may hold a space or a slash.
            None if c.is_ascii() && !c.is_ascii_alphanumeric() || c.is_control() || c == '\u{2044}' => {}
            None => into.push(c),
        }
    }
}

/// Letters that have a plain form, but do not come apart into it.
fn plain(c: char) -> Option<&'static str> {
    Some(match c {
        'ß' => "ss",
        'æ' => "ae",
        'œ' => "oe",
        'ø' => "o",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ł' => "l",
        'ı' => "i",
        'þ' => "th",
        'ς' => "σ",
        _ => return None,
    })
}

/// Appends an emoji, without the colour of its skin.
pub(super) fn fold_emoji(cluster: &str, into: &mut String) {
    let is_look = |c: char| matches!(c, '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
    into.extend(cluster.chars().filter(|c| !is_look(*c)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_accents_do_not_matter() {
        for (text, expected) in [
            ("A", "a"),
            ("É", "e"),
            ("e\u{301}", "e"),
            ("ẞ", "ss"),
            ("Ø", "o"),
            ("İ", "i"),
            ("ı", "i"),
            ("Ώ", "ω"),
            ("ς", "σ"),
            ("Ё", "е"),
            ("ﬁ", "fi"),
            ("Ａ", "a"),
            ("½", "12"),
            ("한", "한"),
            ("が", "が"),
            ("ｶﾞ", "ガ"),
            ("कि", "कि"),
            ("بَ", "ب"),
            ("שׁ", "ש"),
        ] {
            let mut folded = String::new();
            fold(text, &mut folded);
            assert_eq!(folded, expected, "{text}");
        }
    }
}
