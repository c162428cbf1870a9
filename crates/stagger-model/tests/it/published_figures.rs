//! Parameter counts and multiply-adds of the zoo against published figures.

use stagger_model::Model;

fn zoo(name: &str, classes: usize) -> Model {
    Model::by_name(name, [3, 32, 32], classes).unwrap()
}

fn multiply_adds(model: &Model) -> u64 {
    model.cost(0..model.blocks.len()).unwrap().multiply_adds
}

/// A figure published in millions with `digits` after the point.
#[track_caller]
fn assert_millions(found: u64, published: &str) {
    let digits = published.split('.').nth(1).map_or(0, str::len);
    assert_eq!(format!("{:.digits$}", found as f64 / 1e6), published);
}

/// He et al. 2015, "Deep Residual Learning", table 6: 0.27, 0.46, 0.66, 0.85, 1.7, 19.4 M parameters, with option A
/// shortcuts. To the unit: the totals that the port akamaster/pytorch_resnet_cifar10 prints for its networks.
#[test]
fn parameters_of_cifar_resnets() {
    for (name, exact, published) in [
        ("resnet20", 269_722, "0.27"),
        ("resnet32", 464_154, "0.46"),
        ("resnet44", 658_586, "0.66"),
        ("resnet56", 853_018, "0.85"),
        ("resnet110", 1_727_962, "1.7"),
        ("resnet1202", 19_421_274, "19.4"),
    ] {
        let found = zoo(name, 10).parameter_count();
        assert_eq!(found, exact, "{name}");
        assert_millions(found, published);
    }
}

/// Derived by hand for depth 6n + 2 and C classes: the stem has 27·16 weights, each of 2n convolutions of a group of
/// width w has 9w² but the first of groups 2 and 3, which has half; 2 parameters per channel of the 6n + 1
/// normalisations; the head has 64C + C.
#[test]
fn parameters_of_cifar_resnets_follow_the_formula() {
    for depth in [8, 14, 20, 26, 98] {
        let n = (depth as u64 - 2) / 6;
        let convolutions: u64 = 27 * 16
            + [16_u64, 32, 64]
                .iter()
                .map(|w| 2 * n * 9 * w * w)
                .sum::<u64>()
            - [32_u64, 64].iter().map(|w| 9 * w * w / 2).sum::<u64>();
        let normalisations = 2 * (16 + 2 * n * (16 + 32 + 64));
        let found = zoo(&format!("resnet{depth}"), 100).parameter_count();
        assert_eq!(
            found,
            convolutions + normalisations + 64 * 100 + 100,
            "{depth}"
        );
    }
}

/// Baselines of the literature on pruning, which calls multiply-adds FLOPs. ResNet-56 and ResNet-110: 125.49 M and
/// 252.89 M since Lin et al. 2020, "HRank". ResNet-20: 4.06e7 in He et al. 2018, "Soft Filter Pruning".
#[test]
fn multiply_adds_of_cifar_resnets() {
    for (name, published) in [
        ("resnet20", "40.6"),
        ("resnet56", "125.49"),
        ("resnet110", "252.89"),
    ] {
        assert_millions(multiply_adds(&zoo(name, 10)), published);
    }
}

/// By hand: every 3×3 convolution that keeps its width costs 16·16·9·32² = 32·32·9·16² = 64·64·9·8² = 2,359,296, the
/// first of groups 2 and 3 half of it, the stem 27·16·32², the classifier 640.
#[test]
fn multiply_adds_of_cifar_resnets_follow_the_formula() {
    for (name, n) in [("resnet8", 1), ("resnet20", 3), ("resnet110", 18)] {
        let full = 2_359_296;
        let expected = 27 * 16 * 1024 + (3 * 2 * n - 2) * full + 2 * (full / 2) + 640;
        assert_eq!(multiply_adds(&zoo(name, 10)), expected, "{name}");
    }
}

/// Liu et al. 2017, "Learning Efficient Convolutional Networks through Network Slimming", table 1: ResNet-164 has
/// 1.70 M parameters and 4.99e8 FLOPs (two per multiply-add) on CIFAR-10, 1.73 M on CIFAR-100.
#[test]
fn preactivation_resnet164() {
    let model = zoo("resnet164", 10);
    assert_millions(model.parameter_count(), "1.70");
    assert_millions(zoo("resnet164", 100).parameter_count(), "1.73");
    let flops = model.cost(0..model.blocks.len()).unwrap().flops() as f64;
    assert!((flops / 4.99e8 - 1.0).abs() < 0.01, "{flops}");
}

/// He et al. 2016, "Identity Mappings in Deep Residual Networks", table 5: ResNet-1001 has 10.2 M parameters on CIFAR-10.
#[test]
fn preactivation_resnet1001() {
    let found = zoo("preact-resnet1001", 10).parameter_count() as f64;
    assert!((found / 10.2e6 - 1.0).abs() < 0.015, "{found}");
}

/// Zagoruyko, Komodakis 2016, "Wide Residual Networks", tables 4 and 5: 8.9, 11.0, 36.5 M parameters; 5.2 G multiply-adds for WRN-28-10 in
/// Han et al. 2017, "Deep Pyramidal Residual Networks". To the unit: what the port xternalbz/WideResNet-pytorch prints.
#[test]
fn wide_resnets() {
    for (name, exact, published) in [
        ("wrn-16-8", 10_961_370, "11.0"),
        ("wrn-28-10", 36_479_194, "36.5"),
    ] {
        let found = zoo(name, 10).parameter_count();
        assert_eq!(found, exact, "{name}");
        assert_millions(found, published);
    }
    assert_millions(zoo("wrn-40-4", 10).parameter_count(), "8.9");
    assert_millions(multiply_adds(&zoo("wrn-28-10", 10)) / 1000, "5.2");
}

/// Xie et al. 2017, "Aggregated Residual Transformations for Deep Neural Networks", table 7: 34.4 M parameters on CIFAR-10. With one more digit:
/// 34.43 and 68.16 M in bearpaw/pytorch-classification; to the unit, the same network in benchmarks/pytorch/models.py. The multiply-adds by hand, convolution by convolution.
#[test]
fn resnexts_for_small_images() {
    let found = zoo("resnext29-8x64d", 10).parameter_count();
    assert_eq!(found, 34_426_698);
    assert_millions(found, "34.43");
    assert_millions(zoo("resnext29-16x64d", 10).parameter_count(), "68.16");
    let mut expected = 27 * 64 * 1024 + 1024 * 10;
    let mut width = 64;
    for (factor, pixels) in [(1, 1024), (2, 256), (4, 64)] {
        let (inner, outputs) = (factor * 512, factor * 256);
        for index in 0..3 {
            let before = if index == 0 && factor > 1 {
                4 * pixels
            } else {
                pixels
            };
            expected += before * width * inner + pixels * inner * (inner / 8) * 9;
            expected += pixels * inner * outputs;
            if index == 0 {
                expected += pixels * width * outputs;
            }
            width = outputs;
        }
    }
    assert_eq!(multiply_adds(&zoo("resnext29-8x64d", 10)), expected);
}

/// kuangliu/pytorch-cifar: the parameter totals that torchsummary prints, and multiply-adds of 0.56 G (ResNet-18),
/// 153 M and 314 M (VGG-11, VGG-16) as in Sun et al., "NeuralFuse", table 7, which also counts normalisation or bias.
#[test]
fn resnet18_and_vgg_for_small_images() {
    for (name, parameters, published) in [
        ("resnet18-cifar", 11_173_962, 557.14e6),
        ("vgg11-bn", 9_231_114, 153.5e6),
        ("vgg16-bn", 14_728_266, 314.43e6),
    ] {
        let model = zoo(name, 10);
        assert_eq!(model.parameter_count(), parameters, "{name}");
        let found = multiply_adds(&model) as f64;
        assert!(
            found < published && found > 0.99 * published,
            "{name}: {found}"
        );
    }
}

/// torchvision's documentation gives the parameters of its ResNets to the unit, and 4.09 G multiply-adds for ResNet-50
/// at 224 x 224.
#[test]
fn figures_of_imagenet_resnets() {
    for (name, exact) in [
        ("resnet18", 11_689_512),
        ("resnet34", 21_797_672),
        ("resnet50", 25_557_032),
        ("resnet101", 44_549_160),
        ("resnet152", 60_192_808),
    ] {
        let model = Model::by_name(name, [3, 224, 224], 1000).unwrap();
        assert_eq!(model.parameter_count(), exact, "{name}");
    }
    let resnet50 = Model::by_name("resnet50", [3, 224, 224], 1000).unwrap();
    assert_millions(multiply_adds(&resnet50) / 1000, "4.09");
}

/// torchvision's documentation: parameters to the unit; 4.23, 16.41 and 15.46 G multiply-adds at 224 x 224.
#[test]
fn figures_of_imagenet_resnexts() {
    for (name, exact, published) in [
        ("resnext50-32x4d", 25_028_904, "4.23"),
        ("resnext101-32x8d", 88_791_336, "16.41"),
        ("resnext101-64x4d", 83_455_272, "15.46"),
    ] {
        let model = Model::by_name(name, [3, 224, 224], 1000).unwrap();
        assert_eq!(model.parameter_count(), exact, "{name}");
        assert_millions(multiply_adds(&model) / 1000, published);
    }
}

/// torchvision's documentation: 3,504,872 parameters and 0.30 G multiply-adds at 224 x 224; Sandler et al. 2018, table 4: 3.4 M, 300 M.
#[test]
fn figures_of_mobilenet_v2() {
    let model = Model::by_name("mobilenet-v2", [3, 224, 224], 1000).unwrap();
    assert_eq!(model.parameter_count(), 3_504_872);
    assert_millions(multiply_adds(&model) / 1000, "0.30");
}

/// Huang et al. 2017, "Densely Connected Convolutional Networks", table 2: 0.8, 15.3 and 25.6 M parameters on CIFAR-10. To the unit: the same
/// network in benchmarks/pytorch/models.py.
#[test]
fn densenets_for_small_images() {
    let found = zoo("densenet-bc-100-12", 10).parameter_count();
    assert_eq!(found, 769_162);
    assert_millions(found, "0.8");
    assert_millions(zoo("densenet-bc-250-24", 10).parameter_count(), "15.3");
    assert_millions(zoo("densenet-bc-190-40", 10).parameter_count(), "25.6");
}

/// By hand, convolution by convolution; 0.29 G for 100 layers and a growth of 12.
#[test]
fn multiply_adds_of_densenets_follow_the_formula() {
    let (growth, layers) = (12, 16);
    let mut width = 2 * growth;
    let mut expected = 27 * width * 1024;
    for (group, pixels) in [1024, 256, 64].into_iter().enumerate() {
        for _ in 0..layers {
            expected += pixels * (width * 4 * growth + 9 * 4 * growth * growth);
            width += growth;
        }
        if group < 2 {
            // Before its pooling.
            expected += pixels * width * (width / 2);
            width /= 2;
        }
    }
    expected += width * 10;
    let found = multiply_adds(&zoo("densenet-bc-100-12", 10));
    assert_eq!(found, expected);
    assert_millions(found / 1000, "0.29");
}
