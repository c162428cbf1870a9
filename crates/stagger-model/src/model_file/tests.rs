use proptest::prelude::*;

use super::*;

const INPUT: [usize; 3] = [3, 16, 16];

/// A stem, a residual block with a shortcut, and a head.
const SMALL: &str = r#"
name = "small"

[[blocks]]
name = "stem"
layers = [
    { kind = "conv2d", out_channels = 8, kernel = 3, padding = 1 },
    { kind = "batch-norm2d" },
    { kind = "relu" },
]

[[blocks]]
name = "block"
layers = [
    { kind = "residual", body = [
        { kind = "conv2d", out_channels = 16, kernel = 3, stride = 2, padding = 1 },
        { kind = "batch-norm2d" },
    ], shortcut = [
        { kind = "conv2d", out_channels = 16, kernel = 1, stride = 2, name = "block.down" },
    ] },
    { kind = "dropout", probability = 0.1 },
]

[[blocks]]
name = "head"
layers = [
    { kind = "max-pool2d", kernel = 2 },
    { kind = "flatten" },
    { kind = "linear", outputs = "classes" },
]
"#;

fn model(text: &str) -> Result<Model, String> {
    Model::from_toml(text, INPUT, 5).map_err(|error| error.to_string())
}

fn refused(change: (&str, &str)) -> String {
    let changed = SMALL.replacen(change.0, change.1, 1);
    assert_ne!(changed, SMALL, "{change:?}");
    model(&changed).unwrap_err()
}

#[test]
fn what_follows_from_shapes_is_filled_in() {
    let found = model(SMALL).unwrap();
    let body = vec![
        Layer::conv3x3("block.conv1", 8, 16, 2),
        Layer::batch_norm("block.bn1", 16),
    ];
    let residual = Layer::Residual {
        body,
        shortcut: vec![Layer::conv1x1("block.down", 8, 16, 2)],
    };
    let dropout = Layer::Dropout {
        name: "block.dropout1".to_owned(),
        probability: 0.1,
    };
    let pool = Layer::MaxPool2d {
        kernel: 2,
        stride: 2,
        padding: 0,
    };
    let blocks = vec![
        Block::new(
            "stem",
            vec![
                Layer::conv3x3("stem.conv1", 3, 8, 1),
                Layer::batch_norm("stem.bn1", 8),
                Layer::Relu,
            ],
        ),
        Block::new("block", vec![residual, dropout]),
        Block::new(
            "head",
            vec![pool, Layer::Flatten, Layer::linear("head.linear1", 256, 5)],
        ),
    ];
    assert_eq!(found, Model::new("small", INPUT, 5, blocks).unwrap());
    assert_eq!(Model::name_in_toml(SMALL).unwrap(), "small");
    // Numbers pass over names that are said, before or after them.
    let numbered = SMALL.replace("\"block.down\"", "\"block.conv\"");
    assert!(model(&numbered).is_ok());
    let numbered = SMALL.replace(
        "kernel = 3, stride = 2",
        "name = \"block.conv1\", kernel = 3, stride = 2",
    );
    let numbered = numbered.replace(", name = \"block.down\"", "");
    let names = model(&numbered).unwrap().parameters(1..2);
    assert!(
        names
            .iter()
            .any(|parameter| parameter.name == "block.conv2.weight")
    );
    // It fits images of another size and number of classes, unless it says which it is for.
    let other = Model::from_toml(SMALL, [1, 32, 32], 7).unwrap();
    assert_eq!((other.input, other.classes), ([1, 32, 32], 7));
    let fixed = format!("input = [3, 16, 16]\nclasses = 5\n{SMALL}");
    assert_eq!(model(&fixed).unwrap(), found);
    let error = Model::from_toml(&fixed, [1, 16, 16], 5).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1: the network is for images of 3x16x16, and these are 1x16x16"
    );
    let error = Model::from_toml(&fixed, INPUT, 6).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2: the network is for 5 classes, and there are 6"
    );
}

/// All networks of the zoo can be written so.
#[test]
fn what_serde_writes_is_read() {
    for name in [
        "resnet8",
        "resnet164",
        "resnet50",
        "mobilenet-v2",
        "densenet-bc-10-4",
        "vgg11-bn",
        "wrn-10-2",
        "resnext11-2x8d",
    ] {
        let mut model = Model::by_name(name, [3, 64, 64], 10).unwrap();
        model.name = format!("my-{name}");
        let text = toml::to_string(&model).unwrap();
        let found = Model::from_toml(&text, model.input, model.classes);
        assert_eq!(found, Ok(model), "{name}");
    }
}

#[test]
fn faults_name_their_lines() {
    for (change, expected) in [
        (
            ("\"small\"", "\"resnet8\""),
            "line 2: `resnet8` is a network of the zoo; give this one another name",
        ),
        (
            ("\"small\"", "\"../a\""),
            "line 2: a network has a name of 1 to 64 letters, digits, `-`, `_` and `.`",
        ),
        (
            ("\"block.down\"", "\"\\u001b[31m\""),
            "line 19: a layer has a name of 1 to 64 letters, digits, `-`, `_` and `.`",
        ),
        (
            ("\"stem\"", "\"\""),
            "line 5: a block has a name of 1 to 64 letters, digits, `-`, `_` and `.`",
        ),
        (
            ("\"small\"", "3"),
            "line 2: invalid type: integer `3`, expected a text in quotes",
        ),
        (("name = \"small\"", ""), "line 1: missing field `name`"),
        (
            ("\"relu\"", "\"gelu\""),
            "line 9: there is no layer of kind `gelu`; there are conv2d, batch-norm2d, relu, relu6, residual, concat, max-pool2d, avg-pool2d, \
          global-avg-pool, flatten, linear, dropout, subsample-pad",
        ),
        (
            ("\"relu\" }", "\"relu\", kernel = 3 }"),
            "line 9: `relu` has no `kernel`; it has no fields",
        ),
        (
            (
                "{ kind = \"batch-norm2d\" }",
                "{ kind = \"batch-norm2d\", channels = 9 }",
            ),
            "line 8: layer `stem.bn1` expects 9 channels but its input of shape [8, 16, 16] has 8; change its channels or those of the layer before it",
        ),
        (
            ("out_channels = 16, kernel = 3", "kernel = 3"),
            "line 16: `conv2d` needs `out_channels`",
        ),
        (
            ("stride = 2, padding = 1", "padding = 1"),
            "line 15: the residual around `block.conv1` adds its body of shape [16, 16, 16] to its shortcut of shape [16, 8, 8]; give the shortcut the same channels and \
          stride as the body",
        ),
        (
            ("\"block.down\"", "\"stem.conv1\""),
            "line 19: the name `stem.conv1` is there twice; give each layer a name of its own",
        ),
        (
            ("probability = 0.1", "probability = 1.5"),
            "line 21: layer `block.dropout1` has probability = 1.5; expected at least 0 and below 1",
        ),
        (
            ("outputs = \"classes\"", "outputs = 9"),
            "line 25: the last block has to end in shape [5], one value per class, and ends in [9]; end it with { kind = \"linear\", outputs = \"classes\" }",
        ),
        (
            ("outputs = \"classes\"", "outputs = \"all\""),
            "line 29: `outputs` is a whole number, or \"classes\"",
        ),
        (
            ("outputs = \"classes\"", "outputs = -1"),
            "line 29: `outputs` is -1, and 1 to 65536 is read",
        ),
        (
            ("outputs = \"classes\"", "outputs = 0"),
            "line 29: `outputs` is 0, and 1 to 65536 is read",
        ),
        (
            ("out_channels = 8", "out_channels = 99999999"),
            "line 7: `out_channels` is 99999999, and at most 65536 is read",
        ),
        (
            ("out_channels = 8", "outchannels = 8"),
            "line 7: unknown field `outchannels`, expected one of",
        ),
        (
            ("\"head\"", "\"stem\""),
            "line 25: a block needs a name of its own, and this is `stem`",
        ),
        (
            ("kernel = 2 }", "kernel = 20 }"),
            "line 27: layer `max-pool2d` expects an image of at least 20x20 pixels",
        ),
        (
            ("{ kind = \"flatten\" },", ""),
            "line 29: layer `head.linear1` expects an input of shape [F] but gets [16, 4, 4]",
        ),
    ] {
        let found = refused(change);
        assert!(found.starts_with(expected), "{change:?}: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
    let nested = |depth: usize| {
        let layers = "{ kind = \"concat\", body = [".repeat(depth) + &"] }".repeat(depth);
        format!("name = \"a\"\n[[blocks]]\nname = \"a\"\nlayers = [{layers}]\n")
    };
    assert!(model(&nested(5000)).is_err());
    let many = "{ kind = \"relu\" },".repeat(10_001);
    let text = format!("name = \"a\"\n[[blocks]]\nname = \"a\"\nlayers = [{many}]\n");
    assert_eq!(
        model(&text).unwrap_err(),
        "line 4: a network has at most 10000 layers"
    );
}

proptest! {
    /// Any damage to a text gives an error or another network, and no panic.
    #[test]
    fn damaged_texts_do_no_harm(at in 0..SMALL.len(), with in "[ -~\n]{0,3}", cut in 0..40_usize) {
        let end = (at + cut).min(SMALL.len());
        if SMALL.is_char_boundary(at) && SMALL.is_char_boundary(end) {
            let mut text = SMALL.to_owned();
            text.replace_range(at..end, &with);
            let lines = text.lines().count();
            match Model::from_toml(&text, INPUT, 5) {
                Ok(model) => model.validate().unwrap(),
                Err(error) => assert!((1..=lines + 1).contains(&error.line), "{error}"),
            }
        }
    }
}
