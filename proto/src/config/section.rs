//! One definition per knob: [`sections!`] turns it into a struct field, its default, and its documentation.

/// What `tandem config` prints of a knob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knob {
    /// `section.name`, as in a run file and after `--set`.
    pub key: &'static str,
    /// What it does, with its unit.
    pub doc: &'static str,
}

/// Defines the sections of [`super::RunConfig`], each knob with its doc comment, type and default.
macro_rules! sections {
    ($(
        $(#[doc = $section_doc:literal])*
        $section:ident: $Section:ident {
            $($(#[doc = $doc:literal])* $name:ident: $Type:ty = $default:expr,)*
        }
    )*) => {
        $(
            $(#[doc = $section_doc])*
            #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $Section {
                $($(#[doc = $doc])* pub $name: $Type,)*
            }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $($name: $default,)* }
                }
            }
        )*

        /// A whole run: every knob once, by section. A struct of the program receives its own section only.
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct RunConfig {
            $($(#[doc = $section_doc])* pub $section: $Section,)*
        }

        /// Every knob with its documentation, in the order of the run file.
        pub const KNOBS: &[$crate::config::Knob] = &[
            $($($crate::config::Knob {
                key: concat!(stringify!($section), ".", stringify!($name)),
                doc: concat!($($doc),*),
            },)*)*
        ];
    };
}
pub(super) use sections;
