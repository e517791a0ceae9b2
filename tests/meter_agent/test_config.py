"""A meter's configuration: what a field refuses."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from meter_agent.sources.sections import TopicSection


@pytest.mark.parametrize("topic", ["t", "tele/meter/SENSOR", "ä" * 200, "two\nlines"])
def test_a_topic_of_up_to_200_characters_is_taken(topic):
    assert TopicSection(url="mqtt://broker", topic=topic).topic == topic


@pytest.mark.parametrize("topic", ["", "t" * 201, "ä" * 201, "tele/#", "+/SENSOR", "a\x00b", "t\n#"])
def test_an_empty_or_longer_topic_and_one_with_wildcards_is_refused(topic):
    with pytest.raises(ValidationError, match="topic"):
        TopicSection(url="mqtt://broker", topic=topic)
