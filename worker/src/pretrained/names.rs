//! How others name the same parameters: each layout is one function from our name to theirs, for the way in and the way out.

/// The word embeddings, which the published word head repeats as its decoder's weight.
pub const WORDS: &str = "text_encoder.bert.embeddings.word_embeddings.weight";
/// The word head's bias, which the published one repeats as its decoder's.
pub const WORD_BIAS: &str = "text_encoder.cls.predictions.bias";

/// Names of the image encoder's parameters in Hugging Face's ViT, by our prefix (without `visual_encoder.`) and theirs.
const HF_VIT: [(&str, &str); 9] = [
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
    ("blocks.*.norm1", "encoder.layer.*.layernorm_before"),
    ("blocks.*.attn.proj", "encoder.layer.*.attention.output.dense"),
    ("blocks.*.norm2", "encoder.layer.*.layernorm_after"),
    ("blocks.*.mlp.fc1", "encoder.layer.*.intermediate.dense"),
    ("blocks.*.mlp.fc2", "encoder.layer.*.output.dense"),
    ("norm", "layernorm"),
];

/// How a file names parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The published ALBEF code's names, which are ours.
    Albef,
    /// The same for the teacher: `visual_encoder_m.` and so on.
    AlbefTeacher,
    /// timm's `VisionTransformer`, as DeiT is published.
    Timm,
    /// Hugging Face's ViT, below a prefix such as `vit.`.
    HfVit(&'static str),
    /// Hugging Face's BERT: what comes before the encoder's names (`bert.`, or nothing in a bare `BertModel`).
    HfBert(&'static str),
}

impl Layout {
    /// The names whose tensors, one after the other along the first dimension, are our parameter `name`; none if the layout has
    /// nothing like it.
    pub fn theirs(&self, name: &str) -> Vec<String> {
        match self {
            Self::Albef => vec![name.into()],
            Self::AlbefTeacher => {
                name.split_once('.').map(|(head, rest)| format!("{head}_m.{rest}")).into_iter().collect()
            }
            Self::Timm => name.strip_prefix("visual_encoder.").map(str::to_owned).into_iter().collect(),
            Self::HfVit(prefix) => {
                let Some(name) = name.strip_prefix("visual_encoder.") else { return Vec::new() };
                hf_vit(name).into_iter().map(|theirs| format!("{prefix}{theirs}")).collect()
            }
            Self::HfBert(prefix) => match name.strip_prefix("text_encoder.") {
                Some(name) => {
                    vec![name.strip_prefix("bert.").map_or(name.into(), |inner| format!("{prefix}{inner}"))]
                }
                None => Vec::new(),
            },
        }
    }
}

fn hf_vit(name: &str) -> Vec<String> {
    if let Some((block, kind)) = name.strip_prefix("blocks.").and_then(|rest| rest.split_once(".attn.qkv.")) {
        let part = |part: &str| format!("encoder.layer.{block}.attention.attention.{part}.{kind}");
        return ["query", "key", "value"].map(part).into();
    }
    let mapped = HF_VIT.iter().find_map(|(ours, theirs)| renamed(name, ours, theirs));
    mapped.into_iter().collect()
}

/// `name` with the prefix `ours` replaced by `theirs`; `*` stands for a number that both share.
fn renamed(name: &str, ours: &str, theirs: &str) -> Option<String> {
    let (rest, number) = match ours.split_once('*') {
        None => (name.strip_prefix(ours)?, ""),
        Some((head, tail)) => {
            let (number, _) = name.strip_prefix(head)?.split_once('.')?;
            (name.strip_prefix(head)?.strip_prefix(number)?.strip_prefix(tail)?, number)
        }
    };
    (rest.is_empty() || rest.starts_with('.')).then(|| format!("{}{rest}", theirs.replace('*', number)))
}

/// Whether `pattern`, in which `*` stands for anything, is all of `name`.
pub fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, tail)) => name.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(tail, &rest[at..]))
        }),
    }
}

/// Patterns that match all of `wrong` and none of `right`, as few as names with dots suggest: a module whose every name is wrong becomes
/// one pattern, and so do modules that differ in numbers only.
pub fn patterns(wrong: &[String], right: &[String]) -> Vec<String> {
    let pattern = |name: &String| {
        let ends = name.match_indices('.').map(|(at, _)| at);
        let general = |name: &str| {
            let parts = name.split('.').map(|part| if part.parse::<u64>().is_ok() { "*" } else { part });
            parts.collect::<Vec<_>>().join(".")
        };
        let modules = ends.map(|end| format!("{}.*", general(&name[..end])));
        let mut candidates = modules.chain([general(name), name.clone()]);
        candidates
            .find(|pattern| !right.iter().any(|name| matches(pattern, name)))
            .unwrap_or_else(|| name.clone())
    };
    let mut all: Vec<String> = wrong.iter().map(pattern).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_name_what_they_have() {
        let of = |layout: Layout, name: &str| layout.theirs(name).join(" ");
        assert_eq!(of(Layout::Timm, "visual_encoder.blocks.3.attn.qkv.bias"), "blocks.3.attn.qkv.bias");
        assert_eq!(of(Layout::HfVit("vit."), "visual_encoder.norm.weight"), "vit.layernorm.weight");
        assert_eq!(
            of(Layout::HfVit(""), "visual_encoder.blocks.11.norm2.bias"),
            "encoder.layer.11.layernorm_after.bias"
        );
        assert_eq!(Layout::HfVit("").theirs("visual_encoder.blocks.0.attn.qkv.weight").len(), 3);
        assert_eq!(
            of(Layout::HfBert(""), "text_encoder.bert.encoder.layer.0.output.dense.bias"),
            "encoder.layer.0.output.dense.bias"
        );
        assert_eq!(of(Layout::HfBert("bert."), WORD_BIAS), "cls.predictions.bias");
        assert_eq!(of(Layout::AlbefTeacher, "text_proj.weight"), "text_proj_m.weight");
        assert_eq!(of(Layout::Timm, "text_proj.weight"), "");
    }

    #[test]
    fn a_star_is_anything() {
        assert!(matches("a.*.c", "a.b.b.c") && matches("*", "") && matches("*.x", "é.x"));
        assert!(!matches("a.*.c", "a.b.d") && !matches("a", "ab"));
    }

    #[test]
    fn few_patterns_cover_what_is_wrong_and_nothing_else() {
        let names = |all: &[&str]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
        let wrong = names(&[
            "l.6.cross.q.weight",
            "l.6.cross.k.bias",
            "l.7.cross.q.weight",
            "head.weight",
            "head.bias",
            "token",
        ]);
        let right = names(&["l.6.self.q.weight", "l.7.self.q.weight", "norm.weight"]);
        assert_eq!(patterns(&wrong, &right), ["head.*", "l.*.cross.*", "token"]);
        // A pattern must not swallow what is fine.
        let tricky = patterns(&names(&["l.7.x"]), &names(&["l.6.x", "l.7.y"]));
        assert_eq!(tricky, ["l.7.x"]);
    }
}
