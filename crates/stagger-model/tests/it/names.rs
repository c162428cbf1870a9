//! Parameter and buffer names, shapes and order, as PyTorch's `state_dict` has them.

use stagger_model::{Block, Buffer, Layer, Model, ModelError, Parameter};

fn model(name: &str) -> Model {
    Model::by_name(name, [3, 32, 32], 10).unwrap()
}

fn names(model: &Model) -> Vec<String> {
    model
        .parameters(0..model.blocks.len())
        .into_iter()
        .map(|parameter| parameter.name)
        .collect()
}

fn shape_of(model: &Model, name: &str) -> Vec<usize> {
    let all = model.parameters(0..model.blocks.len());
    all.into_iter()
        .find(|parameter| parameter.name == name)
        .expect(name)
        .shape
}

#[test]
fn a_cifar_resnet_is_named_like_its_pytorch_port() {
    let model = model("resnet20");
    let names = names(&model);
    assert_eq!(
        names[..9],
        [
            "conv1.weight",
            "bn1.weight",
            "bn1.bias",
            "layer1.0.conv1.weight",
            "layer1.0.bn1.weight",
            "layer1.0.bn1.bias",
            "layer1.0.conv2.weight",
            "layer1.0.bn2.weight",
            "layer1.0.bn2.bias",
        ]
    );
    assert_eq!(names[names.len() - 2..], ["linear.weight", "linear.bias"]);
    assert_eq!(shape_of(&model, "layer2.0.conv1.weight"), [32, 16, 3, 3]);
    assert_eq!(shape_of(&model, "linear.weight"), [10, 64]);
    let blocks: Vec<&str> = model
        .blocks
        .iter()
        .map(|block| block.name.as_str())
        .collect();
    assert_eq!(
        blocks,
        [
            "stem", "layer1.0", "layer1.1", "layer1.2", "layer2.0", "layer2.1", "layer2.2",
            "layer3.0", "layer3.1", "layer3.2", "head"
        ]
    );
}

#[test]
fn the_other_families_are_named_like_their_ports() {
    let resnet18 = model("resnet18-cifar");
    assert_eq!(
        shape_of(&resnet18, "layer2.0.shortcut.0.weight"),
        [128, 64, 1, 1]
    );
    assert_eq!(shape_of(&resnet18, "layer4.0.shortcut.1.bias"), [512]);
    let resnet164 = model("resnet164");
    assert_eq!(
        shape_of(&resnet164, "layer1.0.downsample.0.weight"),
        [64, 16, 1, 1]
    );
    assert_eq!(
        shape_of(&resnet164, "layer3.17.conv3.weight"),
        [256, 64, 1, 1]
    );
    assert_eq!(shape_of(&resnet164, "bn.weight"), [256]);
    assert_eq!(shape_of(&resnet164, "fc.weight"), [10, 256]);
    assert_eq!(resnet164.blocks.len(), 56);
    let wide = model("wrn-16-8");
    assert_eq!(
        shape_of(&wide, "block1.layer.0.convShortcut.weight"),
        [128, 16, 1, 1]
    );
    assert_eq!(
        shape_of(&wide, "block3.layer.1.conv2.weight"),
        [512, 512, 3, 3]
    );
    assert_eq!(shape_of(&wide, "bn1.weight"), [512]);
    assert_eq!(wide.blocks.len(), 8);
    let resnext = model("resnext29-8x64d");
    assert_eq!(
        shape_of(
            &resnext,
            "stage_2.stage_2_bottleneck_0.shortcut.shortcut_conv.weight"
        ),
        [512, 256, 1, 1]
    );
    assert_eq!(
        shape_of(&resnext, "stage_3.stage_3_bottleneck_2.conv_conv.weight"),
        [2048, 256, 3, 3]
    );
    assert_eq!(shape_of(&resnext, "classifier.weight"), [10, 1024]);
    assert_eq!(resnext.blocks.len(), 11);
    let dense = model("densenet-bc-100-12");
    assert_eq!(shape_of(&dense, "conv1.weight"), [24, 3, 3, 3]);
    assert_eq!(shape_of(&dense, "dense1.15.conv1.weight"), [48, 204, 1, 1]);
    assert_eq!(shape_of(&dense, "trans1.conv1.weight"), [108, 216, 1, 1]);
    assert_eq!(shape_of(&dense, "dense3.15.conv2.weight"), [12, 48, 3, 3]);
    assert_eq!(shape_of(&dense, "fc.weight"), [10, 342]);
    // Every dense layer can begin a stage, with all channels before it.
    assert_eq!(dense.blocks.len(), 1 + 3 * 16 + 2 + 1);
    assert_eq!(dense.stage_input_shape(5).unwrap(), [24 + 4 * 12, 32, 32]);
    let large = model("resnext50-32x4d");
    assert_eq!(shape_of(&large, "layer4.2.conv2.weight"), [1024, 32, 3, 3]);
    assert_eq!(
        shape_of(&large, "layer1.0.downsample.0.weight"),
        [256, 64, 1, 1]
    );
}

#[test]
fn mobilenet_is_numbered_like_torchvision() {
    let model = model("mobilenet-v2");
    for (name, shape) in [
        ("features.0.0.weight", &[32, 3, 3, 3][..]),
        ("features.1.conv.0.0.weight", &[32, 1, 3, 3]),
        ("features.1.conv.1.weight", &[16, 32, 1, 1]),
        ("features.1.conv.2.bias", &[16]),
        ("features.2.conv.0.0.weight", &[96, 16, 1, 1]),
        ("features.17.conv.1.0.weight", &[960, 1, 3, 3]),
        ("features.17.conv.2.weight", &[320, 960, 1, 1]),
        ("features.18.1.weight", &[1280]),
        ("classifier.1.weight", &[10, 1280]),
    ] {
        assert_eq!(shape_of(&model, name), shape, "{name}");
    }
    assert_eq!(model.blocks.len(), 20);
    assert_eq!(model.head(), Some("classifier.1"));
}

#[test]
fn vgg_is_numbered_like_torchvision() {
    let weights = |name| -> Vec<String> {
        let all = names(&model(name)).into_iter();
        all.filter(|found| found.ends_with(".weight")).collect()
    };
    let features = |convolutions: &[usize]| -> Vec<String> {
        let numbers = convolutions.iter().flat_map(|&index| [index, index + 1]);
        let features = numbers.map(|number| format!("features.{number}.weight"));
        features.chain(["classifier.weight".to_owned()]).collect()
    };
    assert_eq!(
        weights("vgg11-bn"),
        features(&[0, 4, 8, 11, 15, 18, 22, 25])
    );
    let sixteen = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40];
    assert_eq!(weights("vgg16-bn"), features(&sixteen));
}

#[test]
fn buffers_are_running_statistics() {
    let found = Layer::batch_norm("bn1", 16).buffers();
    let names: Vec<&str> = found
        .iter()
        .map(|Buffer { name, .. }| name.as_str())
        .collect();
    assert_eq!(names, ["bn1.running_mean", "bn1.running_var"]);
    let values: Vec<f32> = found
        .iter()
        .map(|buffer| buffer.kind.initial_value())
        .collect();
    assert_eq!(values, [0.0, 1.0]);
    assert_eq!(
        Layer::batch_norm("bn1", 16).batch_counters(),
        ["bn1.num_batches_tracked"]
    );
}

#[test]
fn a_name_used_twice_is_refused() {
    let twice = |first: Layer, second: Layer| {
        let layers = vec![Layer::Flatten, first, second];
        Model::new("m", [1, 1, 4], 4, vec![Block::new("only", layers)])
    };
    assert_eq!(
        twice(Layer::linear("fc", 4, 4), Layer::linear("fc", 4, 4)).unwrap_err(),
        ModelError::DuplicateName {
            model: "m".into(),
            name: "fc.weight".into()
        }
    );
    let dropout = || Layer::Dropout {
        name: "drop".into(),
        probability: 0.5,
    };
    assert_eq!(
        twice(dropout(), dropout()).unwrap_err().to_string(),
        "model `m` has the name `drop` twice; give each layer a name of its own"
    );
    assert!(twice(Layer::linear("a", 4, 4), Layer::linear("b", 4, 4)).is_ok());
}

#[test]
fn bias_free_layers_have_no_bias() {
    let names = |layer: Layer| -> Vec<String> {
        layer
            .parameters()
            .into_iter()
            .map(|Parameter { name, .. }| name)
            .collect()
    };
    assert_eq!(names(Layer::conv3x3("c", 1, 1, 1)), ["c.weight"]);
    let linear = Layer::Linear {
        name: "l".into(),
        inputs: 2,
        outputs: 3,
        bias: false,
        zero_weight: false,
    };
    assert_eq!(names(linear), ["l.weight"]);
}
