//! Any script is found, whatever its case, its accents, and whether it has spaces.

use super::{query, results, room};
use crate::support::Server;

/// A text, what finds it, and what does not.
const SCRIPTS: &[(&str, &[&str], &[&str])] = &[
    ("Grüße aus Köln, Straße 5", &["gruße", "GRÜSSE", "koln", "strasse", "straße*", "5"], &["köl", "grue"]),
    ("Le café de l'été", &["cafe", "CAFÉ", "ete", "l'été", "\"de l'ete\""], &["caf"]),
    ("Łódź i Żółć, Ørsted", &["lodz", "zolc", "orsted"], &["oersted"]),
    ("İstanbul'da ışık", &["istanbul", "ISIK", "ışık"], &[]),
    ("Съешь ещё этих булок", &["СЪЕШЬ", "еще", "бул*", "\"этих булок\""], &["було"]),
    ("Ο δρόμος της Αθήνας", &["ΔΡΟΜΟΣ", "δρομος", "αθηνας", "αθην*"], &["αθην"]),
    ("مرحبا بكم في المدينة مُحَمَّد", &["مرحبا", "محمد", "\"في المدينة\"", "المد*"], &["مدين"]),
    ("שָׁלוֹם לכולם, צה״ל", &["שלום", "לכולם", "צהל"], &["שלו"]),
    ("नमस्ते दुनिया, हिन्दी", &["नमस्ते", "दुनिया", "हिन्दी", "दुनि*"], &["दुन"]),
    ("안녕하세요 세계", &["안녕하세요", "안녕*", "세계"], &["하세요"]),
    ("我们明天在北京见面", &["北京", "明天", "我们明天", "京", "面", "见面", "北京 明天"], &["京北", "上海", "天北"]),
    ("明日、東京タワーで会いましょう", &["東京", "タワー", "東京タワー", "会い", "で"], &["京都", "タワ会"]),
    ("ｶﾞｷﾞｸﾞとＡＢＣ", &["ガギグ", "ガギ", "abc", "と"], &["カキ"]),
    ("พรุ่งนี้เจอกันที่กรุงเทพ", &["กรุงเทพ", "พรุ่งนี้", "เจอกัน", "ก"], &["เชียงใหม่"]),
    ("ສະບາຍດີ ຊາວໂລກ", &["ສະບາຍດີ", "ບາຍ", "ຊາວໂລກ"], &["ຊາວດີ"]),
    ("សួស្តី\u{200B}ពិភពលោក", &["សួស្តី", "ពិភព"], &["ភពសួ"]),
    ("မင်္ဂလာပါကမ္ဘာ", &["မင်္ဂလာ", "ကမ္ဘာ"], &["ပါမင်"]),
    ("Party 🎉 mit 👍🏽 und 👨‍👩‍👧 🇩🇪 ❤️", &["🎉", "👍", "👍🏿", "👨‍👩‍👧", "🇩🇪", "❤", "party 🎉"], &["🎊", "🇫🇷"]),
    ("v2.0-rc1 kostet 1.299,00 €", &["v2", "rc1", "1.299,00", "299"], &["1299"]),
];

#[tokio::test]
async fn every_script_is_found_by_its_words_and_not_by_others() {
    let server = Server::start();
    let mut ana = server.user("ana").await;
    let said: Vec<&str> = SCRIPTS.iter().map(|(text, ..)| *text).collect();
    room(&mut ana, "r", &said).await;
    let mut wrong = Vec::new();
    for (text, found, missed) in SCRIPTS {
        for word in *found {
            let results = results(&ana, query(word)).await;
            if !results.iter().any(|result| result.message.as_ref().unwrap().text == *text) {
                wrong.push(format!("{word} does not find {text}"));
            }
            if results.iter().any(|result| result.highlights.is_empty()) {
                wrong.push(format!("{word} highlights nothing"));
            }
        }
        for word in *missed {
            if !results(&ana, query(word)).await.is_empty() {
                wrong.push(format!("{word} finds something"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
