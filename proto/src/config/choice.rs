//! Knobs with a closed set of values.

/// Defines enums that are written as lowercase words in a run file.
macro_rules! choices {
    ($($(#[doc = $doc:literal])* $Name:ident { $($Variant:ident = $word:literal),* })*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
            pub enum $Name {
                $(#[doc = concat!("`", $word, "`")] #[serde(rename = $word)] $Variant,)*
            }
        )*
    };
}
pub(super) use choices;
