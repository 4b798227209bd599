//! A file's bytes as a text, or what to do about them.

/// The bytes are no UTF-8. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// As older PowerShells write files.
    #[error(
        "it is UTF-16, as `>` of Windows PowerShell writes it: save it as UTF-8, or write it with \
         Out-File -Encoding utf8"
    )]
    Utf16,
    /// A text with four bytes for each character.
    #[error("it is UTF-32: save it as UTF-8")]
    Utf32,
    /// Something else.
    #[error("line {line} is not UTF-8: save the file as UTF-8")]
    Other {
        /// The first line that is none, counted from 1.
        line: usize,
    },
}

/// The text in a file.
///
/// # Errors
/// If it is no UTF-8.
pub fn text_of(bytes: Vec<u8>) -> Result<String, NotText> {
    match bytes.as_slice() {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Err(NotText::Utf32),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err(NotText::Utf16),
        // Without a byte order mark: the first letter of a configuration is an ordinary one.
        [first, second, ..] if (*first == 0) != (*second == 0) => return Err(NotText::Utf16),
        _ => {}
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().iter().take(valid);
        NotText::Other {
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_utf_8_are_told_by_their_kind() {
        let text = "address-pools: []\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: [u8; 2], bytes: &[u8]| [&mark, bytes].concat();
        let utf32: Vec<u8> = std::iter::once('\u{feff}')
            .chain(text.chars())
            .flat_map(|c| u32::from(c).to_le_bytes())
            .collect();
        let rows = [
            (marked([0xff, 0xfe], &little), NotText::Utf16),
            (marked([0xfe, 0xff], &big), NotText::Utf16),
            (little, NotText::Utf16),
            (big, NotText::Utf16),
            (utf32, NotText::Utf32),
            (b"a: b\nc: caf\xe9\n".to_vec(), NotText::Other { line: 2 }),
        ];
        for (bytes, want) in rows {
            assert_eq!(text_of(bytes), Err(want));
        }
        // UTF-8 with its mark is read as ever, and so is nothing.
        for text in ["\u{feff}address-pools: []\n", "", "ä"] {
            assert_eq!(text_of(text.as_bytes().to_vec()).as_deref(), Ok(text));
        }
    }
}
