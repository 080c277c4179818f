//! The ids of requirements in the names and comments of tests.

/// The ids in a name: `d_12_…` is D-12, `s_7_…` is the promise S7, `b_7_…` the group B.7.
pub(super) fn ids_in_name(name: &str) -> Vec<String> {
    let parts: Vec<&str> = name.split('_').collect();
    let id = |pair: &[&str]| {
        let is_number = !pair[1].is_empty() && pair[1].bytes().all(|byte| byte.is_ascii_digit());
        let letter = pair[0].to_ascii_uppercase();
        match (pair[0], pair[1].len()) {
            ("s", 1 | 2) if is_number => Some(format!("S{}", pair[1])),
            ("a" | "b" | "c" | "d" | "e" | "f" | "g" | "h", 2) if is_number => {
                Some(format!("{letter}-{}", pair[1]))
            }
            ("a" | "b" | "c" | "d" | "e" | "f" | "g" | "h", 1) if is_number => {
                Some(format!("{letter}.{}", pair[1]))
            }
            _ => None,
        }
    };
    parts.windows(2).filter_map(id).collect()
}

/// The ids in a comment: `D-12`, `S7`, and all in a range such as `F-28 to F-33`.
pub(super) fn ids_in_comments(comments: &str) -> Vec<String> {
    let mut ids: Vec<String> = Vec::new();
    let (mut after_id, mut is_range) = (false, false);
    for word in
        comments.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').filter(|word| !word.is_empty())
    {
        if is_id(word) {
            if let (true, Some((letter, first))) = (is_range, ids.last().and_then(|id| numbered(id))) {
                let (_, last) = numbered(word).unwrap_or((letter, first));
                ids.extend((first + 1..last).map(|number| format!("{letter}-{number:02}")));
            }
            ids.push(word.to_owned());
        }
        is_range = word == "to" && after_id;
        after_id = is_id(word);
    }
    ids
}

fn is_id(word: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_promise = word.strip_prefix('S').is_some_and(|rest| rest.len() <= 2 && is_number(rest));
    is_promise || numbered(word).is_some()
}

/// The letter and the number of `D-12`.
fn numbered(word: &str) -> Option<(char, u32)> {
    let (letter, number) = word.split_once('-')?;
    let letter = letter.parse().ok().filter(|letter| ('A'..='H').contains(letter))?;
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
        assert_eq!(
            ids_in_comments("S5, E-25, F-28 to F-31: sends -32603 (B-44)."),
            ["S5", "E-25", "F-28", "F-29", "F-30", "F-31", "B-44"]
        );
        assert_eq!(ids_in_comments("D-10: one to come back to D-38"), ["D-10", "D-38"]);
        assert_eq!(ids_in_comments("UTF-8, S, X-11, A-1, SSE"), [""; 0]);
    }
}
