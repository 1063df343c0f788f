from .page import report_numbers as report_numbers
from .page import write_report as write_report
from .status import status as status
from .status import summary_text as summary_text
