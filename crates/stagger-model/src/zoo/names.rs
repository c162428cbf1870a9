//! From a name to a network, and to the nearest one when there is none of that name.

use super::{Cardinality, Network, imagenet_resnet};
use crate::error::ModelError;

/// The zoo's names in the order in which messages list them. Other depths and widths of the same families work too.
pub const MODEL_NAMES: [&str; 25] = [
    "resnet8",
    "resnet14",
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet98",
    "resnet110",
    "preact-resnet110",
    "resnet164",
    "preact-resnet1001",
    "wrn-16-8",
    "wrn-28-10",
    "resnext29-8x64d",
    "densenet-bc-100-12",
    "resnet18-cifar",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50-32x4d",
    "mobilenet-v2",
    "vgg11-bn",
    "vgg16-bn",
];

/// The deepest network of He et al. 2015 (§4.2). A limit at all, so that a slip of the finger does not fill memory.
const DEEPEST: usize = 1202;
/// The widest network of Zagoruyko and Komodakis has 12 times the channels.
const WIDEST: usize = 20;

/// The most groups of a ResNeXt, and the most channels that they have in the first blocks; the widest of Xie et al. have 64 and 1024.
const MOST_GROUPS: usize = 128;
const MOST_CHANNELS: usize = 4096;

/// The deepest and the widest DenseNet of Huang et al. have 250 layers and a growth of 40.
const DEEPEST_DENSE: usize = 250;
const MOST_GROWTH: usize = 60;

/// The network of this name; upper and lower case, `-` and `_` make no difference.
pub(super) fn network(name: &str) -> Result<Network, ModelError> {
    let plain = name.trim().to_ascii_lowercase().replace('_', "-");
    match plain.as_str() {
        "resnet164" => return Ok(Network::PreactivationResnet { depth: 164 }),
        "resnet18-cifar" => return Ok(Network::CifarResnet18),
        "mobilenet-v2" | "mobilenetv2" => return Ok(Network::MobilenetV2),
        "vgg11" | "vgg11-bn" => return Ok(Network::Vgg { depth: 11 }),
        "vgg16" | "vgg16-bn" => return Ok(Network::Vgg { depth: 16 }),
        _ => {}
    }
    let found = preactivation(&plain).or_else(|| wide(&plain));
    let found = found.or_else(|| in_groups(&plain));
    if let Some(network) = found.or_else(|| dense(&plain)) {
        return Ok(network);
    }
    match depth(&plain) {
        Some(depth) if imagenet_resnet::DEPTHS.contains(&depth) => {
            Ok(Network::ImagenetResnet { depth })
        }
        Some(depth) if is_basic(depth) => Ok(Network::CifarResnet { depth }),
        _ => Err(ModelError::Unknown {
            name: name.to_owned(),
            suggestion: suggestion(&plain),
            known: MODEL_NAMES.to_vec(),
            deepest: DEEPEST,
            widest: WIDEST,
            deepest_dense: DEEPEST_DENSE,
            most_growth: MOST_GROWTH,
        }),
    }
}

/// N of `resnetN`.
fn depth(plain: &str) -> Option<usize> {
    plain.strip_prefix("resnet")?.parse().ok()
}

/// The network of `preact-resnetN` with N = 9n + 2.
fn preactivation(plain: &str) -> Option<Network> {
    let depth: usize = plain.strip_prefix("preact-resnet")?.parse().ok()?;
    let is_one = (11..=DEEPEST).contains(&depth) && depth % 9 == 2;
    is_one.then_some(Network::PreactivationResnet { depth })
}

/// The network of `wrn-N-W` with N = 6n + 4.
fn wide(plain: &str) -> Option<Network> {
    let (depth, widening) = plain.strip_prefix("wrn-")?.split_once('-')?;
    let (depth, widening) = (depth.parse().ok()?, widening.parse().ok()?);
    let is_one =
        (10..=DEEPEST).contains(&depth) && depth % 6 == 4 && (1..=WIDEST).contains(&widening);
    is_one.then_some(Network::WideResnet { depth, widening })
}

/// The network of `resnextN-CxWd` with N = 9n + 2 for small images, or one of ImageNet's depths.
fn in_groups(plain: &str) -> Option<Network> {
    let (depth, rest) = plain.strip_prefix("resnext")?.split_once('-')?;
    let (groups, width) = rest.strip_suffix('d')?.split_once('x')?;
    let depth: usize = depth.parse().ok()?;
    let (groups, width): (usize, usize) = (groups.parse().ok()?, width.parse().ok()?);
    let is_one = (1..=MOST_GROUPS).contains(&groups)
        && (1..=MOST_CHANNELS).contains(&width)
        && groups * width <= MOST_CHANNELS;
    if !is_one {
        return None;
    }
    let cardinality = Cardinality { groups, width };
    if imagenet_resnet::BOTTLENECK_DEPTHS.contains(&depth) {
        return Some(Network::ImagenetResnext { depth, cardinality });
    }
    let is_small = (11..=DEEPEST).contains(&depth) && depth % 9 == 2;
    is_small.then_some(Network::Resnext { depth, cardinality })
}

/// The network of `densenet-bc-L-K` with L = 6n + 4.
fn dense(plain: &str) -> Option<Network> {
    let (depth, growth) = plain.strip_prefix("densenet-bc-")?.split_once('-')?;
    let (depth, growth) = (depth.parse().ok()?, growth.parse().ok()?);
    let is_one = (10..=DEEPEST_DENSE).contains(&depth)
        && depth % 6 == 4
        && (1..=MOST_GROWTH).contains(&growth);
    is_one.then_some(Network::DensenetBc { depth, growth })
}

fn is_basic(depth: usize) -> bool {
    (8..=DEEPEST).contains(&depth) && depth % 6 == 2 && !imagenet_resnet::DEPTHS.contains(&depth)
}

/// The depth nearest to this one that the general rule takes; the smaller of two.
fn nearest_depth(depth: usize) -> usize {
    let nearest = (8..=DEEPEST).filter(|&other| is_basic(other));
    nearest
        .min_by_key(|other| other.abs_diff(depth))
        .unwrap_or(8)
}

/// The name most like this one, if any is like it at all.
fn suggestion(plain: &str) -> Option<String> {
    if plain.is_empty() {
        return None;
    }
    if let Some(longer) = MODEL_NAMES
        .iter()
        .find(|known| known.starts_with(&format!("{plain}-")))
    {
        return Some((*longer).to_owned());
    }
    if let Some(depth) = depth(plain) {
        return Some(format!("resnet{}", nearest_depth(depth)));
    }
    // The part before the hyphen too, so that `vgg19` is like `vgg16-bn`.
    let distance = |known: &str| {
        edits(plain, known).min(edits(plain, known.split('-').next().unwrap_or(known)))
    };
    let nearest = MODEL_NAMES
        .into_iter()
        .min_by_key(|known| distance(known))?;
    (distance(nearest) <= 3.min(nearest.len() / 2)).then(|| nearest.to_owned())
}

/// Levenshtein distance: the least number of characters to insert, delete or replace.
fn edits(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str) -> String {
        network(name).unwrap_err().to_string()
    }

    #[test]
    fn case_underscores_and_short_vgg_names_are_accepted() {
        assert_eq!(
            network("ResNet20").unwrap(),
            Network::CifarResnet { depth: 20 }
        );
        assert_eq!(network("resnet18_cifar").unwrap(), Network::CifarResnet18);
        assert_eq!(network("MobileNet_V2").unwrap(), Network::MobilenetV2);
        assert_eq!(network("mobilenetv2").unwrap(), Network::MobilenetV2);
        assert_eq!(network("vgg11").unwrap(), network("VGG11_bn").unwrap());
    }

    #[test]
    fn every_depth_of_the_form_6n_plus_2_is_accepted_up_to_1202() {
        assert_eq!(
            network("resnet26").unwrap(),
            Network::CifarResnet { depth: 26 }
        );
        assert!(network("resnet1202").is_ok());
        assert!(network("resnet1208").is_err());
        assert!(network("resnet2").is_err());
    }

    #[test]
    fn resnet164_is_the_bottleneck_network_although_164_is_6n_plus_2() {
        assert_eq!(
            network("resnet164").unwrap(),
            Network::PreactivationResnet { depth: 164 }
        );
    }

    #[test]
    fn other_families_have_depths_and_widths_of_their_own() {
        let network = |name| network(name).ok();
        assert_eq!(network("preact-resnet164"), network("resnet164"));
        assert_eq!(
            network("PreAct_ResNet29"),
            Some(Network::PreactivationResnet { depth: 29 })
        );
        assert_eq!(
            network("wrn-40-4"),
            Some(Network::WideResnet {
                depth: 40,
                widening: 4
            })
        );
        for wrong in [
            "preact-resnet21",
            "preact-resnet2",
            "wrn-28",
            "wrn-28-0",
            "wrn-27-10",
            "wrn-4-1",
            "wrn-28-21",
            "wrn-28-10-1",
            "wrn--28-10",
        ] {
            assert_eq!(network(wrong), None, "{wrong}");
        }
        assert!(error("wrn-28-1O").contains("did you mean `wrn-28-10`?"));
        assert!(error("preact-resnet111").contains("did you mean `preact-resnet110`?"));
    }

    #[test]
    fn densenets_have_depths_and_growths_of_their_own() {
        let network = |name| network(name).ok();
        assert_eq!(
            network("DenseNet-BC_190-40"),
            Some(Network::DensenetBc {
                depth: 190,
                growth: 40
            })
        );
        for wrong in [
            "densenet-bc",
            "densenet-bc-100",
            "densenet-bc-101-12",
            "densenet-bc-4-12",
            "densenet-bc-256-12",
            "densenet-bc-100-0",
            "densenet-bc-100-61",
        ] {
            assert_eq!(network(wrong), None, "{wrong}");
        }
        assert!(error("densenet-bc").contains("did you mean `densenet-bc-100-12`?"));
        assert!(error("densenet").contains("did you mean `densenet-bc-100-12`?"));
    }

    #[test]
    fn resnexts_have_groups_of_any_width() {
        let network = |name| network(name).ok();
        let cardinality = |groups, width| Cardinality { groups, width };
        assert_eq!(
            network("ResNeXt29_16x64d"),
            Some(Network::Resnext {
                depth: 29,
                cardinality: cardinality(16, 64)
            })
        );
        assert_eq!(
            network("resnext101-32x8d"),
            Some(Network::ImagenetResnext {
                depth: 101,
                cardinality: cardinality(32, 8)
            })
        );
        for wrong in [
            "resnext29",
            "resnext29-8x64",
            "resnext30-8x64d",
            "resnext18-8x64d",
            "resnext2-8x64d",
            "resnext29-0x64d",
            "resnext29-8x0d",
            "resnext29-128x64d",
            "resnext29-x64d",
            "resnext29-18446744073709551615x64d",
        ] {
            assert_eq!(network(wrong), None, "{wrong}");
        }
        assert!(error("resnext29").contains("did you mean `resnext29-8x64d`?"));
        assert!(error("resnext50").contains("did you mean `resnext50-32x4d`?"));
    }

    #[test]
    fn an_unknown_name_gets_the_list_and_the_nearest_name() {
        assert_eq!(
            error("resnet21"),
            "there is no model `resnet21`; did you mean `resnet20`? The zoo has resnet8, resnet14, resnet20, \
             resnet32, resnet44, resnet56, resnet98, resnet110, preact-resnet110, resnet164, preact-resnet1001, wrn-16-8, wrn-28-10, \
             resnext29-8x64d, densenet-bc-100-12, resnet18-cifar, resnet18, resnet34, resnet50, resnet101, resnet152, resnext50-32x4d, mobilenet-v2, vgg11-bn, vgg16-bn, \
             and for N up to 1202 every resnetN with N = 6n + 2, preact-resnetN and resnextN-CxWd with N = 9n + 2, wrn-N-W with N = 6n + 4 and W up to 20, \
             and densenet-bc-L-K with L = 6n + 4 up to 250 and K up to 60"
        );
        assert!(error("resnt20").contains("did you mean `resnet20`"));
        assert!(error("vgg19").contains("did you mean `vgg11-bn`"));
        assert!(
            error("alexnet-for-birds")
                .starts_with("there is no model `alexnet-for-birds`. The zoo has")
        );
        assert!(error("").starts_with("there is no model ``. The zoo has"));
    }

    #[test]
    fn names_of_imagenet_networks_are_not_taken_for_cifar_ones() {
        for depth in [18, 34, 50, 101, 152] {
            let found = network(&format!("resnet{depth}")).unwrap();
            assert_eq!(found, Network::ImagenetResnet { depth });
        }
    }

    #[test]
    fn edits_counts_insertions_deletions_and_replacements() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
        assert_eq!(edits("same", "same"), 0);
    }
}
