//! Patterns as Redis has them: `*` any bytes, `?` any byte, `[a-z]` one of a class, `[^a]` none of it, `\` takes the
//! next byte as it is.
//!
//! A failed match goes back to the last `*` only, which is enough: whatever an earlier star could give up, the later
//! one can take. So the time is at most the product of both lengths, and the depth is one.

/// Whether all of `text` matches `pattern`. With `ignore_case`, ASCII letters of either case are the same.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut pattern_idx, mut text_idx) = (0, 0);
    // Behind the last star, and the first byte that it does not yet cover.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let rest = pattern.get(pattern_idx..).unwrap_or_default();
        if let [b'*', ..] = rest {
            pattern_idx += 1;
            if pattern_idx == pattern.len() {
                return true;
            }
            retry = Some((pattern_idx, text_idx));
            continue;
        }
        let byte = text.get(text_idx).copied();
        if byte.is_none() && rest.is_empty() {
            return true;
        }
        let step = byte.and_then(|byte| element(rest, byte, ignore_case));
        match (step, retry) {
            (Some(len), _) => {
                pattern_idx += len;
                text_idx += 1;
            }
            (None, Some((behind_star, covered))) if covered < text.len() => {
                retry = Some((behind_star, covered + 1));
                pattern_idx = behind_star;
                text_idx = covered + 1;
            }
            (None, _) => return false,
        }
    }
}

/// Matches `byte` with the first element of `pattern`, which is no star: how long the element is, if they match.
fn element(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (hit, len) = in_class(class, fold(byte), fold);
            hit.then_some(1 + len)
        }
        [b'\\', literal, ..] => (fold(*literal) == fold(byte)).then_some(2),
        [literal, ..] => (fold(*literal) == fold(byte)).then_some(1),
    }
}

/// Whether `byte` is in the class that stands behind its opening bracket, and how long the class is, its closing
/// bracket included. A class without one ends with the pattern.
fn in_class(class: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut idx = usize::from(negated);
    let mut hit = false;
    loop {
        match class.get(idx..).unwrap_or_default() {
            [] => break,
            [b'\\', literal, ..] => {
                hit |= fold(*literal) == byte;
                idx += 2;
            }
            [b']', ..] => {
                idx += 1;
                break;
            }
            [start, b'-', end, ..] => {
                let (low, high) = (fold(*start.min(end)), fold(*start.max(end)));
                hit |= (low..=high).contains(&byte);
                idx += 3;
            }
            [literal, ..] => {
                hit |= fold(*literal) == byte;
                idx += 1;
            }
        }
    }
    (hit != negated, idx)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns() {
        let cases: [(&str, &str, bool); 36] = [
            ("", "", true),
            ("", "a", false),
            ("a", "", false),
            ("*", "", true),
            ("***", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "a", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*c", "ac", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbcd", false),
            ("a*b*c", "aXbXbXc", true),
            ("*abc*", "xxabxabcxx", true),
            ("*ab", "aab", true),
            ("*a?", "aab", true),
            ("a**", "a", true),
            ("[abc]", "b", true),
            ("[abc]", "d", false),
            ("[^abc]", "d", true),
            ("[^abc]", "a", false),
            ("[a-c]x", "bx", true),
            ("[c-a]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[a-", "-", true),
            ("[abc", "c", true),
            ("[^", "c", true),
            ("[]", "c", false),
            ("[\\]]", "]", true),
            ("[\\-a]", "-", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("\\", "\\", true),
            ("h[^e]llo", "hello", false),
            ("h[ae]llo*", "hallo world", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), false), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn case_is_ignored_when_asked() {
        assert!(!matches(b"Max*", b"maxmemory", false));
        assert!(matches(b"Max*", b"maxmemory", true));
        assert!(matches(b"[A-Z]ax", b"max", true));
        assert!(matches(b"\\Max", b"MAX", true));
    }

    #[test]
    fn a_pattern_built_to_explode_does_not() {
        let text = vec![b'a'; 20_000];
        let pattern = [b"a*".repeat(200), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &text, false));
    }

    /// The definition, taken literally.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], text) => text.is_empty(),
            ([b'*', rest @ ..], text) => (0..=text.len()).any(|skip| slow(rest, &text[skip..])),
            (_, []) => false,
            (pattern, [byte, text @ ..]) => {
                element(pattern, *byte, false).is_some_and(|len| slow(&pattern[len..], text))
            }
        }
    }

    proptest! {
        #[test]
        fn as_the_definition_says(pattern in "[ab*?\\[\\]^\\\\-]{0,8}", text in "[ab^-]{0,8}") {
            let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(matches(pattern, text, false), slow(pattern, text));
        }

        #[test]
        fn any_bytes(pattern in proptest::collection::vec(any::<u8>(), 0..40),
                     text in proptest::collection::vec(any::<u8>(), 0..40), ignore_case: bool) {
            matches(&pattern, &text, ignore_case);
        }
    }
}
