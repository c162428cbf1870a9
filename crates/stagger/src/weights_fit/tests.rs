use super::*;

fn model(name: &str, classes: usize) -> Model {
    Model::by_name(name, [3, 32, 32], classes).unwrap()
}

/// A state of a model's tensors, each of its own value.
fn state(model: &Model) -> StageState {
    let expected = Expected::of(model);
    let tensors = expected.shapes.into_iter().enumerate();
    let tensors = tensors.map(|(number, (name, shape))| {
        let data = vec![number as f32; shape.iter().product()];
        (name, HostTensor { shape, data })
    });
    StageState {
        tensors: tensors.collect(),
        counters: expected
            .counters
            .into_iter()
            .map(|name| (name, 7))
            .collect(),
    }
}

fn renamed(state: &StageState, new: impl Fn(&str) -> String) -> StageState {
    let tensors = state.tensors.iter();
    let counters = state.counters.iter();
    StageState {
        tensors: tensors
            .map(|(name, tensor)| (new(name), tensor.clone()))
            .collect(),
        counters: counters.map(|(name, count)| (new(name), *count)).collect(),
    }
}

#[test]
fn prefixes_are_left_out_and_told_once() {
    let model = model("resnet8", 10);
    let whole = state(&model);
    for prefix in [
        "module.",
        "_orig_mod.",
        "model.",
        "state_dict.",
        "backbone.",
        "module._orig_mod.",
        "state_dict.model.backbone.",
        "net.0.",
    ] {
        let mut notes = Vec::new();
        let foreign = renamed(&whole, |name| format!("{prefix}{name}"));
        assert_eq!(fit(&model, foreign, "w", &mut notes).unwrap(), whole);
        assert_eq!(
            notes,
            [format!(
                "names in w begin with `{prefix}`, which is left out"
            )]
        );
    }
}

#[test]
fn right_names_are_left_alone() {
    let model = model("resnet8", 10);
    let whole = state(&model);
    let mut notes = Vec::new();
    assert_eq!(fit(&model, whole.clone(), "w", &mut notes).unwrap(), whole);
    assert!(notes.is_empty());
}

#[test]
fn a_body_with_a_prefix_and_a_head_without_one_are_one_model() {
    let model = model("resnet18", 10);
    let whole = state(&model);
    let foreign = renamed(&whole, |name| match name.strip_prefix("fc.") {
        Some(rest) => format!("model.head.fc.{rest}"),
        None => format!("model.backbone.{name}"),
    });
    assert_eq!(fit(&model, foreign, "w", &mut Vec::new()).unwrap(), whole);
}

#[test]
fn wrappers_inside_of_names_are_left_out() {
    let model = model("resnet8", 10);
    let whole = state(&model);
    let foreign = renamed(&whole, |name| name.replace("layer1.", "layer1._orig_mod."));
    assert_eq!(fit(&model, foreign, "w", &mut Vec::new()).unwrap(), whole);
}

#[test]
fn names_of_other_ports_are_known() {
    for (name, from, to) in [
        ("resnet8", "linear.", "fc."),
        ("resnet18-cifar", ".shortcut.", ".downsample."),
        ("resnet50", ".downsample.", ".shortcut."),
        ("vgg16-bn", "classifier.", "fc."),
        ("resnet164", "fc.", "linear."),
    ] {
        let model = model(name, 10);
        let whole = state(&model);
        let mut notes = Vec::new();
        let foreign = renamed(&whole, |name| format!("module.{}", name.replace(from, to)));
        assert_eq!(fit(&model, foreign, "w", &mut notes).unwrap(), whole);
        assert_eq!(notes.len(), 2, "{notes:?}");
    }
}

#[test]
fn names_of_transformers_are_known() {
    let model = model("resnet50", 10);
    let whole = state(&model);
    let foreign = renamed(&whole, |name| {
        let parts: Vec<&str> = name.split('.').collect();
        let less_one = |text: &str| text.parse::<usize>().unwrap() - 1;
        match parts.as_slice() {
            ["conv1", last] => format!("resnet.embedder.embedder.convolution.{last}"),
            ["bn1", last] => format!("resnet.embedder.embedder.normalization.{last}"),
            ["fc", last] => format!("classifier.1.{last}"),
            [layer, block, rest @ ..] => {
                let stage = less_one(&layer[5..]);
                let rest = match rest {
                    ["downsample", "0", last] => format!("shortcut.convolution.{last}"),
                    ["downsample", "1", last] => format!("shortcut.normalization.{last}"),
                    [part, last] if part.starts_with("conv") => {
                        format!("layer.{}.convolution.{last}", less_one(&part[4..]))
                    }
                    [part, last] => format!("layer.{}.normalization.{last}", less_one(&part[2..])),
                    _ => unreachable!(),
                };
                format!("resnet.encoder.stages.{stage}.layers.{block}.{rest}")
            }
            _ => unreachable!(),
        }
    });
    assert_eq!(fit(&model, foreign, "w", &mut Vec::new()).unwrap(), whole);
}

#[test]
fn two_sets_of_weights_are_refused() {
    let model = model("resnet8", 10);
    let whole = state(&model);
    let mut both = renamed(&whole, |name| format!("ema.{name}"));
    both.merge(renamed(&whole, |name| format!("model.{name}")));
    let misfit = fit(&model, both, "w", &mut Vec::new()).unwrap_err();
    assert_eq!(
        misfit.to_string(),
        "they are there twice, under `ema.` and under `model.`; keep one of them in the file"
    );
}

#[test]
fn tensors_of_a_larger_model_are_refused() {
    let misfit = fit(
        &model("resnet8", 10),
        state(&model("resnet20", 10)),
        "w",
        &mut Vec::new(),
    );
    let text = misfit.unwrap_err().to_string();
    assert_eq!(
        text.lines().take(2).collect::<Vec<_>>(),
        [
            "72 tensors are not of this model",
            "  not of this model  layer1.1.bn1.bias [16]          nearest here: layer1.0.bn1.bias",
        ]
    );
    assert!(text.ends_with("and 68 more"), "{text}");
}

#[test]
fn optimizer_state_of_the_model_stays_and_other_is_refused() {
    let model = model("resnet8", 10);
    let mut whole = state(&model);
    let slot = HostTensor {
        shape: vec![16],
        data: vec![1.0; 16],
    };
    whole
        .tensors
        .insert("optimizer.bn1.bias.momentum".into(), slot.clone());
    assert_eq!(
        fit(&model, whole.clone(), "w", &mut Vec::new()).unwrap(),
        whole
    );
    whole
        .tensors
        .insert("optimizer.bn9.bias.momentum".into(), slot);
    assert!(fit(&model, whole, "w", &mut Vec::new()).is_err());
}

#[test]
fn a_head_of_other_classes_is_told_and_starts_anew_for_fine_tuning() {
    let (here, there) = (model("resnet8", 4), model("resnet8", 10));
    let whole = state(&there);
    let misfit = fit(&here, whole.clone(), "w", &mut Vec::new()).unwrap_err();
    assert!(misfit.is_of_head_only());
    assert!(
        misfit.to_string().starts_with(
            "2 tensors are of another shape\n  other shape  linear.bias [10] instead of [4]"
        ),
        "{misfit}"
    );
    let mut notes = Vec::new();
    let fitted = fit_body(&here, whole.clone(), 3, None, "w", &mut notes).unwrap();
    assert_eq!(fitted.tensors["linear.weight"].shape, [4, 64]);
    assert_eq!(
        fitted.tensors["conv1.weight"],
        whole.tensors["conv1.weight"]
    );
    let other = fit_body(&here, whole, 4, None, "w", &mut Vec::new()).unwrap();
    assert_ne!(
        fitted.tensors["linear.weight"],
        other.tensors["linear.weight"]
    );
    assert_eq!(
        notes,
        [
            "the head `linear` starts anew, as its 10 classes there are 4 here; everything else is from w"
        ]
    );
}

#[test]
fn three_linear_layers_of_a_vgg_are_one_head() {
    let model = model("vgg16-bn", 10);
    let mut whole = state(&model);
    let matrix = |shape: [usize; 2]| HostTensor {
        shape: shape.to_vec(),
        data: vec![0.0; shape[0] * shape[1]],
    };
    whole.tensors.remove("classifier.weight");
    whole.tensors.remove("classifier.bias");
    for (name, shape) in [("0", [64, 512]), ("3", [64, 64]), ("6", [10, 64])] {
        let name = format!("classifier.{name}.weight");
        whole.tensors.insert(name, matrix(shape));
    }
    assert!(fit(&model, whole.clone(), "w", &mut Vec::new()).is_err());
    let fitted = fit_body(&model, whole, 1, None, "w", &mut Vec::new()).unwrap();
    assert_eq!(fitted.tensors["classifier.weight"].shape, [10, 512]);
}

#[test]
fn a_body_that_lacks_a_tensor_is_refused_for_fine_tuning() {
    let model = model("resnet8", 10);
    let mut whole = state(&model);
    whole.tensors.remove("layer1.0.conv1.weight");
    let misfit = fit_body(&model, whole, 1, None, "w", &mut Vec::new()).unwrap_err();
    assert!(
        misfit
            .to_string()
            .starts_with("1 tensor is missing\n  missing  layer1.0.conv1.weight [16, 16, 3, 3]"),
        "{misfit}"
    );
}
