//! Which column of a header is org, note, image and sha256.
//!
//! Invariant: the four are different columns, and each is the only one that can be meant. If two can be, the user is
//! asked; nothing is guessed. Pure.

use super::error::ManifestError;

/// Header names to use instead of the known ones (`--columns org=A,note=B,image=C`).
///
/// An exact match comes first, then one that differs in case, `_`, `-` or space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames {
    /// Name of the organization's column.
    pub org: Option<String>,
    /// Name of the note's column.
    pub note: Option<String>,
    /// Name of the image's column.
    pub image: Option<String>,
}

/// Positions of the columns, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) org: usize,
    pub(super) note: usize,
    pub(super) image: usize,
    pub(super) sha256: Option<usize>,
}

impl Columns {
    /// The last of them: a row that reaches it has all.
    pub(super) fn last(self) -> usize {
        self.all().into_iter().flatten().max().unwrap_or_default()
    }

    /// All of them, in the order org, note, image, sha256.
    pub(super) fn all(self) -> [Option<usize>; 4] {
        [Some(self.org), Some(self.note), Some(self.image), self.sha256]
    }
}

/// Delimiters that an error may propose.
pub(super) const DELIMITERS: [char; 4] = [';', '\t', '|', ','];

/// Names by which the columns are known, folded.
const ORG_NAMES: &[&str] = &["org", "org_id", "organization", "organization_id", "x_organization_id"];
const NOTE_NAMES: &[&str] = &["note", "note_id", "noteid"];
const IMAGE_NAMES: &[&str] = &["image", "image_id", "imageid", "file_id"];

struct Role<'a> {
    name: &'static str,
    known: &'static [&'static str],
    asked: Option<&'a str>,
    /// Takes out of a name what makes no difference for this column.
    fold: fn(&str) -> String,
}

/// Finds the columns among `names`, which were split at `delimiter`.
pub(super) fn find(names: &[String], asked: &ColumnNames, delimiter: u8) -> Result<Columns, ManifestError> {
    let roles = roles(asked);
    let mut found = [None; 4];
    // A column that the user named for one role is not used for another, whatever its name: so these go first.
    for asked_for in [true, false] {
        for (index, role) in roles.iter().enumerate().filter(|(_, role)| role.asked.is_some() == asked_for) {
            let free = |column: &usize| asked_for || !found.contains(&Some(*column));
            let candidates: Vec<usize> = candidates(names, role).into_iter().filter(free).collect();
            let column = match candidates[..] {
                [] => continue,
                [column] => column,
                _ => return Err(ambiguous(names, role, &candidates)),
            };
            if let Some(other) = found.iter().position(|taken| *taken == Some(column)) {
                let (first, second) = (roles[other].name, role.name);
                return Err(ManifestError::SharedColumn { name: shown(&names[column]), first, second });
            }
            found[index] = Some(column);
        }
    }
    match found {
        [Some(org), Some(note), Some(image), sha256] => Ok(Columns { org, note, image, sha256 }),
        _ => Err(missing(names, &roles, found, delimiter)),
    }
}

fn roles(asked: &ColumnNames) -> [Role<'_>; 4] {
    [
        Role { name: "org", known: ORG_NAMES, asked: asked.org.as_deref(), fold },
        Role { name: "note", known: NOTE_NAMES, asked: asked.note.as_deref(), fold },
        Role { name: "image", known: IMAGE_NAMES, asked: asked.image.as_deref(), fold },
        Role { name: "sha256", known: &["sha256", "sha256sum"], asked: None, fold: letters_and_digits },
    ]
}

fn candidates(names: &[String], role: &Role<'_>) -> Vec<usize> {
    let matching = |is_meant: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..names.len()).filter(|index| is_meant(&names[*index])).collect()
    };
    let Some(asked) = role.asked else {
        return matching(&|name| role.known.contains(&(role.fold)(name).as_str()));
    };
    let exact = matching(&|name| name == asked);
    if exact.is_empty() { matching(&|name| fold(name) == fold(asked)) } else { exact }
}

/// Whether a field is a known name of org, note or image. Asked of every row, so nothing is copied.
pub(super) fn is_known(field: &[u8]) -> bool {
    let folded = |byte: &u8| if matches!(byte, b'-' | b' ') { b'_' } else { byte.to_ascii_lowercase() };
    let is = |known: &&str| known.len() == field.len() && field.iter().map(folded).eq(known.bytes());
    [ORG_NAMES, NOTE_NAMES, IMAGE_NAMES].into_iter().flatten().any(is)
}

/// Case, `_`, `-` and space make no difference, nor do blanks around the name.
fn fold(name: &str) -> String {
    name.trim().to_lowercase().replace(['-', ' '], "_")
}

/// Blanks, `_` and `-` make no difference at all: `SHA 256 sum` is `sha256sum`.
fn letters_and_digits(name: &str) -> String {
    name.to_lowercase().replace(|c: char| c.is_whitespace() || matches!(c, '-' | '_'), "")
}

/// Whether a column looks like a hash of the image. It need not be one.
pub(super) fn looks_like_a_hash(name: &str) -> bool {
    words(name).iter().any(|word| is_hash(word)) || is_hash(&letters_and_digits(name))
}

/// `md5`, `filehash`, `crc32c`, `sha512sum`, but not `md`, `shape` or `hashtag`.
fn is_hash(word: &str) -> bool {
    const NAMES: [&str; 6] = ["hash", "checksum", "cksum", "digest", "etag", "sha"];
    const ENDS: [&str; 5] = ["hash", "checksum", "md5", "md5sum", "sha1"];
    const FAMILIES: [&str; 5] = ["md5", "sha", "crc", "blake", "xxh"];
    let is_member = |family: &str| {
        let rest = word.strip_prefix(family);
        rest.is_some_and(|rest| family == "md5" || rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    NAMES.contains(&word) || ENDS.iter().any(|end| word.ends_with(end)) || FAMILIES.into_iter().any(is_member)
}

/// The words of `file_hash`, `file-hash`, `fileHash`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (after_lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        after_lower = c.is_lowercase();
    }
    words
}

/// The flag that sets a delimiter, for advice.
pub(super) fn delimiter_flag(delimiter: char) -> String {
    match delimiter {
        '\t' => "--delimiter tab".to_owned(),
        other => format!("--delimiter '{other}'"),
    }
}

fn missing(names: &[String], roles: &[Role<'_>], found: [Option<usize>; 4], delimiter: u8) -> ManifestError {
    let lacking: Vec<&Role<'_>> = roles[..3]
        .iter()
        .zip(found)
        .filter_map(|(role, column)| if column.is_none() { Some(role) } else { None })
        .collect();
    let missing = lacking.iter().map(|role| match role.asked {
        Some(asked) => format!("{} ({} was asked for)", role.name, shown(asked)),
        None => role.name.to_owned(),
    });
    // One column that contains another delimiter: a spreadsheet saved the file with semicolons.
    let other = match names {
        [only] => DELIMITERS.into_iter().find(|c| *c != char::from(delimiter) && only.contains(*c)),
        _ => None,
    };
    let advice = match other {
        Some('\t') => "the columns look separated by tabs: say so with --delimiter tab".to_owned(),
        Some(other) => {
            format!("the columns look separated by `{other}`: say so with {}", delimiter_flag(other))
        }
        None => "rename the column, or name it with --columns org=A,note=B,image=C".to_owned(),
    };
    ManifestError::MissingColumn {
        missing: missing.collect::<Vec<_>>().join(", "),
        found: list(names),
        known: lacking.iter().map(|role| known(role)).collect::<Vec<_>>().join("; "),
        advice,
    }
}

fn ambiguous(names: &[String], role: &Role<'_>, candidates: &[usize]) -> ManifestError {
    let advice = match role.name {
        "sha256" => "keep one of them".to_owned(),
        name => format!("keep one of them, or choose with --columns {name}=NAME"),
    };
    ManifestError::AmbiguousColumn {
        column: role.name,
        candidates: list(candidates.iter().map(|index| &names[*index])),
        found: list(names),
        known: known(role),
        advice,
    }
}

fn known(role: &Role<'_>) -> String {
    format!("{}: {}", role.name, role.known.join(", "))
}

/// Names for a message; a file that is not a manifest may have thousands.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    const NAMES_MAX: usize = 20;
    let mut names = names.into_iter();
    let text = names.by_ref().take(NAMES_MAX).map(|name| shown(name)).collect::<Vec<_>>().join(", ");
    match names.count() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

/// A name for a message: in backticks, cut to fit a line, control characters escaped.
pub(super) fn shown(name: &str) -> String {
    const CHARS_MAX: usize = 60;
    let mut text = String::from("`");
    for c in name.trim().chars().take(CHARS_MAX) {
        match c {
            '"' | '\'' | '\\' => text.push(c),
            _ => text.extend(c.escape_debug()),
        }
    }
    text.push_str(if name.trim().chars().nth(CHARS_MAX).is_some() { "…`" } else { "`" });
    text
}

#[cfg(test)]
mod tests;
