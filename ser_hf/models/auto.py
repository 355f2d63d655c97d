"""Registers all our families with the Auto classes of transformers when it is imported."""

from transformers import AutoConfig, AutoFeatureExtractor, AutoModelForAudioClassification

from .family import resolve
from .records import RECORDS

for _family in RECORDS:
    if _family.is_stock:
        continue
    _config, _model, _extractor = map(resolve, (_family.config_class, _family.model_class, _family.extractor_class))
    AutoConfig.register(_config.model_type, _config)
    AutoModelForAudioClassification.register(_config, _model)
    AutoFeatureExtractor.register(_config, _extractor)
    # Lets save_pretrained copy the family's files beside the weights, for users without ser_hf.
    _config.register_for_auto_class()
    _model.register_for_auto_class("AutoModelForAudioClassification")
    _extractor.register_for_auto_class("AutoFeatureExtractor")
