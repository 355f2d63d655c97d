from ..extras import require_extra

require_extra("training")
