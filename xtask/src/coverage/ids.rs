//! The ids of requirements in the names and comments of tests.

/// The ids in a name: `d_12_…` is D-12, `s_7_…` is the promise S7, `b_7_…` the group B.7.
pub(super) fn ids_in_name(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('_').collect();
    let id = |pair: &[&str]| {
        let (letter, number) = (pair[0].to_ascii_uppercase(), pair[1]);
        match (pair[0], number.len()) {
            _ if !is_number(number) => None,
            ("s", 1 | 2) => Some(format!("S{number}")),
            ("a" | "b" | "c" | "d" | "e" | "f" | "g" | "h" | "i", 2) => Some(format!("{letter}-{number}")),
            ("a" | "b" | "c" | "d" | "e" | "f" | "g" | "h" | "i", 1) => Some(format!("{letter}.{number}")),
            _ => None,
        }
    };
    parts.windows(2).filter_map(id).collect()
}

/// The ids in a comment: `D-12`, `S7`, and all in a range such as `F-28 to F-33`.
pub(super) fn ids_in_comments(comments: &str) -> Vec<String> {
    let words = comments.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut ids = Vec::new();
    for (at, word) in words.iter().enumerate() {
        if let (Some((_, last)), [.., from, "to"]) = (numbered(word), &words[..at])
            && let Some((letter, first)) = numbered(from)
        {
            ids.extend((first + 1..last).map(|number| format!("{letter}-{number:02}")));
        }
        let is_promise = word.strip_prefix('S').is_some_and(|rest| rest.len() <= 2 && is_number(rest));
        if is_promise || numbered(word).is_some() {
            ids.push((*word).to_owned());
        }
    }
    ids
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The letter and the number of `D-12`.
fn numbered(word: &str) -> Option<(char, u32)> {
    let (letter, number) = word.split_once('-')?;
    let letter = letter.parse().ok().filter(|letter| ('A'..='I').contains(letter))?;
    (number.len() == 2).then(|| number.parse().ok()).flatten().map(|number| (letter, number))
}

#[cfg(test)]
mod tests {
    use super::{ids_in_comments, ids_in_name};

    #[test]
    fn ids_are_read_from_names_and_comments() {
        assert_eq!(ids_in_name("b_26_b_29_version_header"), ["B-26", "B-29"]);
        assert_eq!(ids_in_name("f_37_s_10_nothing"), ["F-37", "S10"]);
        assert_eq!(ids_in_name("b_7_status_matrix"), ["B.7"]);
        assert_eq!(ids_in_name("a_404_is_no_id_and_neither_is_a_word_or_http_2_or_d_"), [""; 0]);
        let ids = ids_in_comments("S5, E-25, F-28 to F-31: sends -32603 (B-44).");
        assert_eq!(ids, ["S5", "E-25", "F-28", "F-29", "F-30", "F-31", "B-44"]);
        assert_eq!(ids_in_comments("D-10: one to come back to D-38"), ["D-10", "D-38"]);
        assert_eq!(ids_in_comments("UTF-8, S, X-11, A-1, SSE"), [""; 0]);
    }
}
