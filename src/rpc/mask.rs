use prost_types::FieldMask;

use super::Violations;

/// Which fields of a resource an update changes.
#[derive(Debug)]
pub struct Mask(Vec<&'static str>);

impl Mask {
    /// An absent mask names the fields that are set, "*" all that can be changed. Paths of fields that only the service sets
    /// are ignored; any other path is a violation.
    pub fn decode(
        mask: Option<FieldMask>,
        can_change: &[&'static str],
        output_only: &[&str],
        is_set: impl Fn(&str) -> bool,
        violations: &mut Violations,
    ) -> Self {
        let Some(mask) = mask else {
            return Self(can_change.iter().copied().filter(|path| is_set(path)).collect());
        };
        if mask.paths == ["*"] {
            return Self(can_change.to_vec());
        }
        let (mut fields, mut all_known) = (Vec::with_capacity(mask.paths.len()), true);
        for path in &mask.paths {
            match can_change.iter().find(|known| *known == path) {
                Some(known) => fields.push(*known),
                None if output_only.contains(&path.as_str()) => {}
                None => {
                    all_known = false;
                    let allowed = can_change.join(", ");
                    violations.add("updateMask", format!("names {path:?}; allowed are {allowed} and, alone, *"));
                }
            }
        }
        // Nothing will change, but the caller is to hear what is wrong with the fields as well.
        if !all_known {
            fields.extend(can_change.iter().copied().filter(|path| is_set(path)));
        }
        Self(fields)
    }

    /// Whether the field is to change.
    pub fn has(&self, path: &str) -> bool {
        self.0.contains(&path)
    }

    /// The value, if the field is to change.
    pub fn pick<T>(&self, path: &str, value: T) -> Option<T> {
        self.has(path).then_some(value)
    }
}
